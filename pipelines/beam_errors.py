"""What Beam says where a worker fails: once, and without the stack where the error says it all."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

_OWN_PACKAGES = frozenset({"pipelines", "transforms"})
_STACK_START = "Traceback (most recent call last):"
_WORKER = "apache_beam/runners/worker/sdk_worker.py"
_REPEATED = "Error processing instruction"
_RETRYING = "apache_beam.utils.retry"
# Beam raises these with the texts of what a worker raised.
_NAMED = re.compile(r"[\w.]*(?:Error|Exception): ")
_WRAPPER = re.compile(r"(?:\w+\.)*RuntimeError: (?=[\w.]*(?:Error|Exception): )")


class BeamErrors(logging.Filter):
    """Passes each error of Beam's once: its threads and layers log the same one again.

    Stacks stay where the error is neither the system's nor one of ours, whose messages say
    what to do.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written; takes its stack from it where that says no more."""
        if record.name == _RETRYING:
            # Its text has a stack, each time that a request is tried again.
            text, *_ = record.getMessage().partition("Traceback for above exception")
            record.msg, record.args = " ".join(text.split()), ()
        if record.levelno < logging.ERROR or not record.name.startswith("apache_beam."):
            return True
        text = record.getMessage()
        if text in self._told or (self._told and text.startswith(_REPEATED)):
            return False
        if record.exc_info and record.exc_info[1] is not None:
            self._told.add(text)
            if _says_it_all(record.exc_info[1]):
                record.exc_info = record.exc_text = None
        return True


def without_stack(text: str) -> str:
    """An error's text without the stacks that runners put before what went wrong."""
    if _STACK_START not in text:
        return text
    lines = text.rstrip().splitlines()
    last = max(index for index, line in enumerate(lines) if line.startswith("  ") or not index)
    return "\n".join(lines[last + 1 :]) or text


def what_failed(error: BaseException) -> str:
    """A runner's error as one line: without stacks, and without the errors that wrap the first."""
    text = " ".join(without_stack(str(error)).split())
    while wrapper := _WRAPPER.match(text):
        text = text[wrapper.end() :]
    return text if _NAMED.match(text) else f"{type(error).__name__}: {text}"


def _says_it_all(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) or _package(error) in _OWN_PACKAGES:
            return True
        # Beam makes a new one, which says the step too.
        error = error.__cause__ or error.__context__
    return False


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


@contextlib.contextmanager
def without_printed_stacks() -> Iterator[None]:
    """Keeps stacks off stderr that Beam's workers in this process print beside logging them."""
    with contextlib.redirect_stderr(_Sifted(sys.stderr)):
        yield


class _Sifted(io.TextIOBase):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._of_thread = threading.local()

    def write(self, text: str) -> int:
        is_end = text == "\n" and getattr(self._of_thread, "is_sifted", False)
        is_stack = text.startswith(_STACK_START) and _WORKER in text
        self._of_thread.is_sifted = is_stack
        return len(text) if is_end or is_stack else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()
