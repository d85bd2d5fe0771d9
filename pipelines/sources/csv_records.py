"""A CSV text as groups of whole records, each with the byte that it starts at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipelines.sources.csv_scan import CARRIAGE_RETURN, LINE_FEED, Scan, State
from pipelines.sources.streams import DamagedFileError


class Records(NamedTuple):
    """Some records.

    Attributes:
      text: whole records with their line ends, and blank lines; empty for a single record that
        is too long.
      starts: the byte of the whole text at which each record starts, int64.
      first: the byte of the whole text at which `text` starts.
    """

    text: bytes
    starts: np.ndarray
    first: int

    def pieces(self) -> list[bytes]:
        """Each record with its line end, and the blank lines behind it."""
        starts = (self.starts - self.first).tolist()
        stops = [*starts[1:], len(self.text)]
        return [self.text[start:stop] for start, stop in zip(starts, stops, strict=True)]


def whole_line_ends(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same text in pieces that do not end within a line end of two bytes."""
    held = b""
    for chunk in chunks:
        text = held + chunk
        held = b"\r" if text.endswith(b"\r") else b""
        yield text.removesuffix(held)
    if held:
        yield held


class RecordStream:
    """Cuts a text into groups of records; holds one chunk and one record at a time.

    Attributes:
      offset: of the first byte that no group had yet: a record starts there.
    """

    def __init__(
        self, chunks: Iterator[bytes], offset: int, delimiter: int, max_record_bytes: int
    ) -> None:
        """Takes a text that starts with a record, at byte `offset` of its file."""
        self._chunks = chunks
        self._delimiter = delimiter
        self._max_record_bytes = max_record_bytes
        self._state = State.FIELD_START
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.offset = offset

    @property
    def is_between(self) -> bool:
        """Whether the text that was read so far ends with a record."""
        return not self._held_bytes

    def __iter__(self) -> Iterator[Records]:
        """Yields the groups that each chunk completes, without the last record if it has no end.

        Raises:
          DamagedFileError: as the chunks do, after the last whole record.
        """
        for text in whole_line_ends(self._chunks):
            yield from self._taken(text)

    def to_end(self) -> Iterator[Records]:
        """Yields all groups, the last record too, where the chunks end with their file.

        Raises:
          DamagedFileError: as the chunks do and as `last` does.
        """
        yield from self
        yield from self.last()

    def last(self) -> Iterator[Records]:
        """The last record of a file, if it has no line end.

        Raises:
          DamagedFileError: it has a quote that nothing closes.
        """
        if self._state is State.IN_QUOTES:
            raise DamagedFileError("a record has a quote that nothing closes")
        is_too_long = self._held_bytes > self._max_record_bytes
        if is_too_long or any(piece.strip(b" ") for piece in self._held):
            yield from self._taken(b"\n")

    def _taken(self, text: bytes) -> Iterator[Records]:
        scan = Scan(text, self._delimiter, self._state)
        self._state = scan.state
        ends = scan.ends
        if not len(ends):
            self._hold(text)
            return
        starts = np.concatenate(([-self._held_bytes], ends[:-1]))
        too_long = np.flatnonzero(ends - starts > self._max_record_bytes).tolist()
        zero = self.offset + self._held_bytes
        done = 0
        for index in [*too_long, len(ends)]:
            if index > done:
                first, stop = starts[done], ends[index - 1]
                whole = b"".join([*([] if done else self._held), text[max(0, first) : stop]])
                yield _group(whole, starts[done:index] + zero)
            if index < len(ends):
                start = int(starts[index]) + zero
                yield Records(b"", np.array([start]), start)
            done = index + 1
        self.offset = zero + int(ends[-1])
        self._held, self._held_bytes = [], 0
        self._hold(text[ends[-1] :])

    def _hold(self, text: bytes) -> None:
        self._held_bytes += len(text)
        if self._held_bytes > self._max_record_bytes:
            self._held.clear()
        elif text:
            self._held.append(text)


def _group(text: bytes, starts: np.ndarray) -> Records:
    first = int(starts[0])
    bytes_there = np.frombuffer(text, np.uint8)[starts - first]
    is_blank = (bytes_there == LINE_FEED) | (bytes_there == CARRIAGE_RETURN)
    return Records(text, starts[~is_blank], first)
