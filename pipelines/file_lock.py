"""One process or thread at a time, by a lock on a local file that ends with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from typing import IO

from pipelines import storage

_LOG = logging.getLogger(__name__)

# A holder at work is done in a moment. One that was stopped (Ctrl-Z) may hold for ever.
PATIENCE_SECONDS = 20.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.0005, 0.05

# Files whose holder was waited for in vain: once is enough.
_STUCK: set[str] = set()


@contextlib.contextmanager
def file_lock(path: str, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Waits until no other holds the file's lock, then holds it.

    Object stores have no locks, nor do some mounted file systems: nothing is held there. Nor is
    it where a holder stays longer than the patience, which is told by a warning. So whoever
    cannot do without must check afterwards.

    Args:
      path: a file; where there is none, nothing is held.
      patience_seconds: how long to wait at most.
    """
    with contextlib.ExitStack() as held:
        if storage.is_local(path):
            with contextlib.suppress(FileNotFoundError):
                file = held.enter_context(open(path, "rb+"))
                _try_lock(file, path, patience_seconds)
                while not _is_at(file, path):
                    # Replaced meanwhile: others hold the lock of the new one.
                    file = held.enter_context(open(path, "rb+"))
                    _try_lock(file, path, patience_seconds)
        yield


def _is_at(file: IO[bytes], path: str) -> bool:
    return os.path.samestat(os.fstat(file.fileno()), os.stat(path))


def _try_lock(file: IO[bytes], path: str, patience_seconds: float) -> None:
    try:
        _lock(file, path, patience_seconds)
    except OSError as error:
        _LOG.debug("no locks on the file system of %s: %s", path, error)


def _lock(file: IO[bytes], path: str, patience_seconds: float) -> None:
    until = time.monotonic() + patience_seconds
    pause_seconds = _FIRST_PAUSE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if path in _STUCK:
                return
            if time.monotonic() >= until:
                _STUCK.add(path)
                _LOG.warning(
                    "expected the lock of %s within %g s. Received: none; its holder may be "
                    "stopped. Going on without it: what both write is compared at the end.",
                    path, patience_seconds)
                return
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
        else:
            _STUCK.discard(path)
            return
