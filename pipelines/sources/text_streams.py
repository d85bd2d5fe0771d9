"""Text files on their way into a parser: chunks of a file or of a range, and lines."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipelines import storage
from pipelines.sources.byte_ranges import range_chunks
from pipelines.sources.record_limits import DEFAULT_MAX_RECORD_BYTES
from pipelines.sources.streams import (
    CHUNK_BYTES,
    GZIP_MAGIC,
    GZIP_WINDOW_BITS,
    inflated,
    stored_chunks,
)
from pipelines.splits import InputFile

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_FEED = ord("\n")


def can_cut(file: InputFile) -> bool:
    """Whether ranges of a text file can be read: it is not gzipped."""
    with contextlib.closing(storage.open_to_read(file.path)) as handle:
        return handle.read(len(GZIP_MAGIC)) != GZIP_MAGIC


def text_chunks(
    path: str, start: int = 0, stop: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """A text file's bytes from an offset on, inflated if it is gzipped.

    Args:
      path: the file.
      start: offset of the first byte, in the inflated text.
      stop: a chunk of a plain file ends there; more come behind it while they are asked for.
      chunk_bytes: no chunk is larger.

    Raises:
      DamagedFileError: after the last readable byte of a cut or damaged gzip stream.
    """
    with contextlib.closing(storage.open_to_read(path)) as handle:
        head = handle.read(len(GZIP_MAGIC))
        if head != GZIP_MAGIC:
            yield from range_chunks(handle, start, stop, chunk_bytes)
            return
        handle.seek(0)
        passed = 0
        for chunk in inflated(stored_chunks(handle), GZIP_WINDOW_BITS, chunk_bytes):
            if passed + len(chunk) > start:
                yield chunk[max(0, start - passed) :]
            passed += len(chunk)


def without_mark(chunks: Iterator[bytes]) -> tuple[int, Iterator[bytes]]:
    """A text without the UTF-8 byte order mark that it may start with, and the mark's length.

    Raises:
      DamagedFileError: as the chunks do, within the first bytes.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(BYTE_ORDER_MARK):
            break
    mark_bytes = len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0
    return mark_bytes, itertools.chain([head[mark_bytes:]] if head[mark_bytes:] else [], chunks)


class Lines(NamedTuple):
    """Some lines of a text, without surrounding white space; blank ones are left out.

    Attributes:
      texts: the lines; an empty one stands for a line that is too long.
      starts: the byte of the whole text at which each line starts, int64.
    """

    texts: list[bytes]
    starts: np.ndarray


def lines(
    chunks: Iterable[bytes],
    start: int = 0,
    stop: int | None = None,
    max_line_bytes: int = DEFAULT_MAX_RECORD_BYTES,
) -> Iterator[Lines]:
    """The lines of a text that start before `stop`.

    Args:
      chunks: the text, which starts with a line; none is longer than a line may be.
      start: offset of its first byte.
      stop: no line that starts there or behind is given, and nothing is read once they are due.
      max_line_bytes: of a longer line only the start is given, without its text.

    Yields:
      As many lines as each chunk completes.

    Raises:
      DamagedFileError: as the chunks do, after the last whole line.
    """
    held: list[bytes] = []
    held_bytes = 0
    for chunk in chunks:
        head, newline, rest = chunk.rpartition(b"\n")
        if newline:
            stop_of_first = head.find(b"\n")
            first_bytes = held_bytes + (len(head) if stop_of_first < 0 else stop_of_first)
            if first_bytes > max_line_bytes:
                yield _too_long(start)
                _, newline, head = head.partition(b"\n")
                start += first_bytes + 1
                held = []
            if newline:
                text = b"".join([*held, head])
                yield _filled(text, start, stop)
                start += len(text) + 1
            held, held_bytes = [], 0
        held.append(rest)
        held_bytes += len(rest)
        if held_bytes > max_line_bytes:
            held.clear()
        if stop is not None and (start >= stop or (not held and start + held_bytes >= stop)):
            break
    if held_bytes > max_line_bytes:
        yield _too_long(start)
    elif stop is None or start < stop:
        yield _filled(b"".join(held), start, stop)


def behind_line_end(
    chunks: Iterator[bytes], start: int, stop: int | None
) -> tuple[int, Iterator[bytes]]:
    """A text from behind its first line end on, and the offset there; nothing from `stop` on.

    Args:
      chunks: the text.
      start: offset of its first byte.
      stop: where no line has to be found any more.
    """
    for chunk in chunks:
        _, newline, rest = chunk.partition(b"\n")
        start += len(chunk) - len(rest)
        if newline:
            return start, itertools.chain([rest] if rest else [], chunks)
        if stop is not None and start >= stop:
            break
    return start, iter(())


def _too_long(start: int) -> Lines:
    return Lines([b""], np.array([start]))


def _filled(text: bytes, start: int, stop: int | None) -> Lines:
    texts = list(map(bytes.strip, text.split(b"\n")))
    line_ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _LINE_FEED)
    starts = np.concatenate(([0], line_ends + 1)) + start
    if stop is not None and starts[-1] >= stop:
        count = int(np.searchsorted(starts, stop))
        texts, starts = texts[:count], starts[:count]
    if b"" in texts:
        is_filled = np.fromiter(map(bool, texts), bool, len(texts))
        texts, starts = [line for line in texts if line], starts[is_filled]
    return Lines(texts, starts)
