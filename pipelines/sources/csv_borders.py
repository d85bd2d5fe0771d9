"""Where the splits of one CSV file meet: found near any byte, without reading what is before.

A byte in the middle of a file may lie between quotes, where line ends end no record. Two things
tell. A quote behind anything but a delimiter, a line end or a quote never opens a field: behind an
odd run of them the text is outside of quotes, whatever it was before. Most windows with quotes
have such a run, and the next record end is certain. Where none has, both readings of the window
are weighed, by the columns of their records and by where quotes stand in them. That is a guess.

A wrong guess never gives wrong rows. The border near a byte is a function of the file and the byte
only, so that the two splits that meet there agree on it. The first split starts where the file's
rows do. A split that starts where a record starts knows, at every byte, whether it is between
quotes, and so whether its last byte ends a record. If it does, the next split starts where a record
starts as well; if not, `check_end` raises, and the job fails before `_SUCCESS`. So in a job that
succeeds all borders are right, by induction from the first split: the first wrong one would be the
end of a split that starts rightly.
"""

from __future__ import annotations

import contextlib
import io
from typing import BinaryIO, NamedTuple

import numpy as np

from pipelines import storage
from pipelines.sources.byte_ranges import ByteWindow, range_chunks
from pipelines.sources.csv_records import RecordStream, whole_line_ends
from pipelines.sources.csv_scan import CARRIAGE_RETURN, LINE_FEED, Scan, State

WINDOW_BYTES = 2**16
MAX_WINDOW_BYTES = 2**22


class CsvBorderError(Exception):
    """Two splits of a CSV file do not meet between two records."""


class CsvBody(NamedTuple):
    """What a border is found with, besides the file.

    Attributes:
      start: the byte at which the file's first row starts.
      columns: how many the file has.
      delimiter: the byte between two fields.
    """

    start: int
    columns: int
    delimiter: int


def find_borders(path: str, body: CsvBody, start: int, stop: int | None) -> tuple[int, int | None]:
    """The bytes at which a split's first record starts, and the next split's.

    Args:
      path: a plain CSV file.
      body: where its rows start, and how they look.
      start: where the split was planned to start.
      stop: where it was planned to stop; None for the end of the file.

    Returns:
      The borders; the second is None where the split goes on to the end of the file.

    Raises:
      CsvBorderError: the borders cannot both be right.
    """
    with contextlib.closing(storage.open_to_read(path)) as handle:
        size = handle.seek(0, io.SEEK_END)
        body = body._replace(start=min(body.start, size))
        first = border(handle, size, body, start)
        last = size if stop is None else border(handle, size, body, stop)
    if first > last:
        raise _wrong(path, last)
    # At the end of a file its last record may have no line end.
    return first, None if last == size else last


def check_end(path: str, records: RecordStream) -> None:
    """Checks that a split, which has been read to its end, ends with a record.

    Raises:
      CsvBorderError: otherwise.
    """
    if not records.is_between:
        raise _wrong(path, records.offset)


def _wrong(path: str, near: int) -> CsvBorderError:
    return CsvBorderError(
        f"expected two splits of {path} to meet between two records. Received: quotes, behind byte "
        f"{near}, that can be read in two ways, so that they meet inside of a record. Pass "
        "--csv_whole_files and --overwrite: every file is one split then."
    )


def border(handle: BinaryIO, size: int, body: CsvBody, at: int) -> int:
    """The byte at or behind `at` where a record starts, as far as can be told; else `size`."""
    if at <= body.start:
        return body.start
    if at >= size:
        return size
    # The byte before tells whether a record starts at `at`.
    start, window_bytes = at - 1, WINDOW_BYTES
    window = ByteWindow(handle)
    while True:
        text = window.look(start, start + window_bytes)
        reaches_end = start + len(text) >= size
        if not reaches_end and text[-1] == CARRIAGE_RETURN:
            text = text[:-1]
        # What is before these quotes is unknown. Behind them begins or goes on a field that is
        # outside of quotes, or one between them.
        inner = text.lstrip(b'"')
        start += len(text) - len(inner)
        outside = Scan(inner, body.delimiter, State.FIELD_START)
        inside = Scan(inner, body.delimiter, State.IN_QUOTES)
        certain = np.intersect1d(outside.ends, inside.ends, assume_unique=True)
        if len(certain):
            return start + int(certain[0])
        if reaches_end and State.IN_QUOTES not in (outside.state, inside.state):
            return size
        is_last = reaches_end or window_bytes >= MAX_WINDOW_BYTES
        chosen = _chosen(outside, inside, body.columns, reaches_end, is_last)
        if chosen is not None:
            break
        start, window_bytes = at - 1, window_bytes * 4
    if len(chosen.ends):
        return start + int(chosen.ends[0])
    return _next_end(handle, size, body.delimiter, start + len(inner), chosen.state)


def _next_end(handle: BinaryIO, size: int, delimiter: int, at: int, state: State) -> int:
    for text in whole_line_ends(range_chunks(handle, at)):
        scan = Scan(text, delimiter, state)
        if len(scan.ends):
            return at + int(scan.ends[0])
        at, state = at + len(text), scan.state
    return size


def _chosen(
    outside: Scan, inside: Scan, columns: int, reaches_end: bool, is_last: bool
) -> Scan | None:
    """The reading of a window that is taken for the right one; None where more may tell."""
    if reaches_end and (outside.state is State.IN_QUOTES) != (inside.state is State.IN_QUOTES):
        # No file ends between quotes.
        return inside if outside.state is State.IN_QUOTES else outside
    without, within = _weight(outside, columns), _weight(inside, columns)
    if without.fits != within.fits:
        return inside if within.fits else outside
    if is_last:
        return inside if within.score > without.score else outside
    return None


class _Weight(NamedTuple):
    """How well one reading of a window suits a file.

    Attributes:
      right: whole records with as many columns as the file has.
      wrong: other whole records.
      odd: runs of quotes where writers put none.
    """

    right: int
    wrong: int
    odd: int

    @property
    def fits(self) -> bool:
        return self.right > 0 and not self.wrong and not self.odd

    @property
    def score(self) -> int:
        return self.right - self.wrong - self.odd


def _weight(scan: Scan, columns: int) -> _Weight:
    delimiters = scan.delimiters()
    counts = np.diff(np.searchsorted(delimiters, scan.ends))
    firsts = scan.data[scan.ends[:-1]]
    is_blank = (firsts == LINE_FEED) | (firsts == CARRIAGE_RETURN)
    is_right = counts == columns - 1
    runs = scan.runs
    closing = runs.stops[~runs.quoted_behind & ~runs.literal]
    behind = scan.data[closing[closing < len(scan.data)]]
    return _Weight(
        right=int((is_right & ~is_blank).sum()),
        wrong=int((~is_right & ~is_blank).sum()),
        odd=int(runs.literal.sum() + (~scan.separates(behind)).sum()),
    )
