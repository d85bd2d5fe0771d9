"""Many rows that are read again from their sources, whatever order a table has them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipelines.sources.base import BLOCK_ROWS, Source
from pipelines.sources.origins import Origin
from pipelines.sources.source_rows import SourceRows
from transforms.failures import Failure

# Of rows that are held until those before them in the table are found too.
WINDOW_BYTES = 64 * 2**20


class Place(NamedTuple):
    """Where a row is: in a file, at what its format counts."""

    path: str
    row: int


class RereadRows:
    """Finds rows of sources.

    Those of a window are found in the order of their files, so that a file is read once for each
    window, and not once for each row of a table out of order. A window is as many rows as are
    asked for at once, or fewer where they are larger than `WINDOW_BYTES`.
    """

    def __init__(self, source: Source, origin: Origin) -> None:
        """Takes a prepared source of the rows' format, and what their table says of them."""
        self._source = source
        self._origin = origin
        self._there: tuple[str, SourceRows] | None = None
        self._window_rows = BLOCK_ROWS

    def found(self, places: Sequence[Place]) -> Iterator[pa.RecordBatch | Failure]:
        """Each row as a batch of one with `_source` and `_row`, or why it is none, in order."""
        start = 0
        while start < len(places):
            stop = _ascending(places, start)
            if stop - start >= min(self._window_rows, len(places) - start):
                yield from map(self._find, places[start:stop])
                start = stop
            else:
                rows = self._window(places[start : start + self._window_rows])
                yield from rows
                start += len(rows)

    def close(self) -> None:
        """Closes the source that is being read."""
        if self._there is not None:
            self._there[1].close()

    def _window(self, places: Sequence[Place]) -> list[pa.RecordBatch | Failure]:
        """The rows of the first places, at least of one."""
        found: dict[int, pa.RecordBatch | Failure] = {}
        held_bytes, count = 0, len(places)
        for at in sorted(range(count), key=places.__getitem__):
            if at >= count:
                continue
            found[at] = self._find(places[at])
            held_bytes += _size_bytes(found[at])
            while held_bytes > WINDOW_BYTES and count > 1:
                count = (count + 1) // 2
                for later in [later for later in found if later >= count]:
                    held_bytes -= _size_bytes(found.pop(later))
        if count < len(places):
            self._window_rows = count
        else:
            # The last places of all may be few, and say nothing of those to come.
            self._window_rows = min(BLOCK_ROWS, max(self._window_rows, 2 * count))
        return [found[at] for at in range(count)]

    def _find(self, place: Place) -> pa.RecordBatch | Failure:
        if self._there is None or self._there[0] != place.path:
            self.close()
            self._there = place.path, SourceRows(self._source, self._origin, place.path)
        return self._there[1].find(place.row)


def _ascending(places: Sequence[Place], start: int) -> int:
    """Where the first row is that is not behind the one before it."""
    stop = start + 1
    while stop < len(places) and places[stop - 1] <= places[stop]:
        stop += 1
    return stop


def _size_bytes(found: pa.RecordBatch | Failure) -> int:
    return len(found.message) if isinstance(found, Failure) else found.nbytes
