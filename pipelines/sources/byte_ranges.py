"""Byte ranges of large files, as splits of their own: cutting files, and reading a range."""

from __future__ import annotations

import concurrent.futures
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from pipelines.sources.streams import CHUNK_BYTES
from pipelines.splits import InputFile, Split

# What lies behind a range is read only to complete a record, which is small more often than not.
_FIRST_TAIL_BYTES = 2**16
_THREADS = 16


def cut_files(
    files: Sequence[InputFile], split_bytes: int, can_cut: Callable[[InputFile], bool]
) -> tuple[Split, ...]:
    """Cuts the files above `split_bytes` into ranges of about equal size.

    Where the cuts lie says nothing about records: a reader finds the first one that starts in
    its range. If any file is cut, the splits of all say that `_row` is a byte offset.

    Args:
      files: all files of the input, in the order of their rows.
      split_bytes: no range is larger.
      can_cut: whether a file's ranges can be read one without the other: it is not compressed.
        Asked in threads, only about files above `split_bytes`.

    Returns:
      Splits with `start` and `stop` as byte offsets; `stop` is None where a file ends.
    """
    large = [file for file in files if file.size_bytes > split_bytes]
    cut: set[str] = set()
    if large:
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
            answers = threads.map(can_cut, large)
            cut = {file.path for file, answer in zip(large, answers, strict=True) if answer}
    splits: list[Split] = []
    for file in files:
        count = -(-file.size_bytes // split_bytes) if file.path in cut else 1
        bounds = [file.size_bytes * index // count for index in range(count + 1)]
        for start, stop in itertools.pairwise(bounds):
            end = None if stop == file.size_bytes else stop
            size = stop - start
            splits.append(
                Split(len(splits), (file.path,), start, end, size_bytes=size, byte_rows=bool(cut))
            )
    return tuple(splits)


def range_chunks(
    handle: BinaryIO, start: int, stop: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes of an open file from `start` on, for as long as they are asked for.

    A chunk ends at `stop`, and does not start before it otherwise; behind it come more chunks,
    small ones first, to complete the last record of the range. Ends where the file ends.

    Args:
      handle: can seek.
      start: offset of the first byte.
      stop: end of the range, exclusive; None for the end of the file.
      chunk_bytes: no chunk is larger.
    """
    handle.seek(start)
    at, tail_bytes = start, min(_FIRST_TAIL_BYTES, chunk_bytes)
    while True:
        wanted = chunk_bytes
        if stop is not None and at < stop:
            wanted = min(chunk_bytes, stop - at)
        elif stop is not None:
            wanted, tail_bytes = tail_bytes, min(2 * tail_bytes, chunk_bytes)
        chunk = handle.read(wanted)
        if not chunk:
            return
        at += len(chunk)
        yield chunk


class ByteWindow:
    """Some bytes of an open file, kept while a place in it is searched.

    What the search has read need not be read again: `chunks` goes on from it.
    """

    def __init__(self, handle: BinaryIO) -> None:
        """Takes a file that can seek."""
        self._handle = handle
        self._data = bytearray()
        self._start = 0
        self.size_bytes: int = handle.seek(0, io.SEEK_END)

    @property
    def _stop(self) -> int:
        return self._start + len(self._data)

    def keep(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, or to the file's end, for `chunks` to come.

        Forgets what lies before `start`.
        """
        if self._start <= start <= self._stop:
            del self._data[: start - self._start]
        else:
            self._data.clear()
        self._start = start
        if stop > self._stop:
            self._data += self._read(self._stop, max(stop - self._stop, _FIRST_TAIL_BYTES))
        return bytes(memoryview(self._data)[: max(0, stop - start)])

    def look(self, start: int, stop: int) -> bytes:
        """The same bytes, without a change of what is kept."""
        if self._start <= start and stop <= self._stop:
            return bytes(self._data[start - self._start : stop - self._start])
        return self._read(start, stop - start)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """As `range_chunks`, but takes what is kept from here, once."""
        if self._start <= start < self._stop:
            kept, self._data = self._data, bytearray()
            for at in range(start - self._start, len(kept), CHUNK_BYTES):
                yield bytes(memoryview(kept)[at : at + CHUNK_BYTES])
            start = self._start + len(kept)
        yield from range_chunks(self._handle, start, stop)

    def _read(self, start: int, size_bytes: int) -> bytes:
        self._handle.seek(start)
        pieces = []
        while size_bytes > 0 and (piece := self._handle.read(size_bytes)):
            pieces.append(piece)
            size_bytes -= len(piece)
        return b"".join(pieces)
