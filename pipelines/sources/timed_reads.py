"""Tells reading from decoding where a decoder reads by itself, in threads of its own."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TypeVar

from transforms.engine.stage_times import DECODE, READ, STAGE_TIMES

_Item = TypeVar("_Item")


class TimedReads(io.RawIOBase):
    """Passes reads on to a file and knows how long they took."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._lock = threading.Lock()
        self._seconds = 0.0

    def readable(self) -> bool:
        """Always: it is made to be read from."""
        return True

    def seekable(self) -> bool:
        """Always: what has a footer is read from both ends."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the file."""
        started = time.perf_counter()
        try:
            return self._file.read(size)
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                self._seconds += seconds

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()

    def close(self) -> None:
        """Closes the file beneath."""
        if not self.closed:
            self._file.close()
            super().close()

    def taken_seconds(self) -> float:
        """Seconds of reading since this was asked last, of all threads together."""
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
        return seconds


def each_decoded(items: Iterable[_Item], file: Any) -> Iterator[_Item]:
    """The same items; waiting for the next counts as decoding, but for the time of reads.

    Reads that a decoder makes ahead, while nothing waits for it, count for nothing.

    Args:
      items: what a decoder gives.
      file: what it reads from; reads are told from decoding where it is a `TimedReads`. Arrow's
        own local files are not, so that reading them counts as decoding.
    """
    iterator = iter(items)
    timed = file if isinstance(file, TimedReads) else None
    while True:
        if timed is not None:
            timed.taken_seconds()
        started = time.perf_counter()
        with STAGE_TIMES.stage(DECODE):
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                if timed is not None:
                    waited = min(timed.taken_seconds(), time.perf_counter() - started)
                    STAGE_TIMES.add(READ, waited)
                    STAGE_TIMES.add(DECODE, -waited)
        yield item
