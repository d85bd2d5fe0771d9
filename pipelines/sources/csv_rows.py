"""The records of a CSV file as strings, each with its position, and those that are none."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from pipelines.sources.streams import DamagedFileError, text_chunks
from pipelines.sources.text_streams import NO_UTF8, LineStream

# A record cannot be longer; a quote that nothing closes ends the file here.
BLOCK_BYTES = 4 * 2**20


@dataclasses.dataclass(frozen=True)
class CsvDialect:
    """How a file is written: the delimiter, and whether the first record names the columns."""

    delimiter: str = ","
    has_header: bool = True


class BadRecord(NamedTuple):
    """A record that gives no row: its position, what it is, and why."""

    row: int
    text: bytes
    message: str


class CsvRows(NamedTuple):
    """Some records of a file.

    Attributes:
      texts: the good ones, every column of strings, an empty one where there is no value.
      rows: their positions, int64, from 0, counted without header and blank lines.
      bad: the others among them.
    """

    texts: pa.RecordBatch
    rows: np.ndarray
    bad: list[BadRecord]


def header_names(path: str, dialect: CsvDialect) -> list[str]:
    """The columns of a file: as its header names them, or `f0`, `f1`, …; none if it is empty.

    Raises:
      DamagedFileError: the first record cannot be read, or names two columns alike.
    """
    stream = LineStream(text_chunks(path), BLOCK_BYTES)
    text = io.StringIO(stream.read(BLOCK_BYTES).decode(errors="replace"), newline="")
    try:
        first = next(filter(None, csv.reader(text, delimiter=dialect.delimiter)), [])
    except csv.Error as error:
        raise DamagedFileError(f"the first record is no CSV: {error}") from error
    if not first and stream.damage is not None:
        raise stream.damage
    if not dialect.has_header:
        return [f"f{index}" for index in range(len(first))]
    if len(set(first)) < len(first):
        raise DamagedFileError(f"the header names columns alike: {', '.join(first)}")
    return first


def read_rows(path: str, names: Sequence[str], dialect: CsvDialect) -> Iterator[CsvRows]:
    """Reads all records of a file that has the columns `names`, in order.

    Raises:
      DamagedFileError: after the last record that can be read, if the file does not end there.
    """
    stream = LineStream(text_chunks(path), BLOCK_BYTES)
    bad: list[BadRecord] = []
    numbering = _Numbering(first=2 if dialect.has_header else 1)
    held: CsvRows | None = None
    failure: DamagedFileError | None = None
    try:
        for batch in _open(stream, names, dialect, bad):
            if held is not None:
                yield held
            held = _checked(numbering.place(batch, bad), stream, dialect)
    except pa.ArrowInvalid as error:
        failure = DamagedFileError(str(error))
    rest = numbering.rest(bad)
    if held is None:
        held = CsvRows(pa.RecordBatch.from_pylist([], _strings(names)), np.empty(0, np.int64), rest)
    else:
        held = held._replace(bad=held.bad + rest)
    if stream.damage is not None and stream.quotes % 2:
        # The cut lies between quotes: what the parser took for the last record is not whole.
        held = _without_last(held)
    yield held
    if stream.damage is not None:
        raise stream.damage
    if failure is not None:
        raise failure


class _Numbering:
    """Gives records their positions, from those that the parser gives bad ones."""

    def __init__(self, first: int) -> None:
        """Takes the parser's number of the record at position 0."""
        self._first = first
        self._next = 0
        self._placed = 0

    def place(self, batch: pa.RecordBatch, bad: Sequence[BadRecord]) -> CsvRows:
        """The next good records, and the bad ones that lie before the last of them."""
        ahead = self._positioned(bad)
        positions = np.arange(self._next, self._next + batch.num_rows + len(ahead))
        taken = np.array([record.row for record in ahead], np.int64)
        rows = np.setdiff1d(positions, taken, assume_unique=True)[: batch.num_rows]
        if len(rows):
            self._next = int(rows[-1]) + 1
        passed = [record for record in ahead if record.row < self._next]
        self._placed += len(passed)
        return CsvRows(batch, rows, passed)

    def rest(self, bad: Sequence[BadRecord]) -> list[BadRecord]:
        """The bad records behind the last good one."""
        return self._positioned(bad)

    def _positioned(self, bad: Sequence[BadRecord]) -> list[BadRecord]:
        return [record._replace(row=record.row - self._first) for record in bad[self._placed :]]


def _open(
    stream: LineStream, names: Sequence[str], dialect: CsvDialect, bad: list[BadRecord]
) -> Iterator[pa.RecordBatch]:
    def skip(record: pacsv.InvalidRow) -> str:
        message = f"expected {record.expected_columns} fields. Received: {record.actual_columns}."
        bad.append(BadRecord(record.number, stream.stored(record.text), message))
        return "skip"

    reader = pacsv.open_csv(
        pa.PythonFile(stream, mode="r"),
        # Only without threads does the parser number the records.
        pacsv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            column_names=None if dialect.has_header else names,
        ),
        pacsv.ParseOptions(
            delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=skip
        ),
        pacsv.ConvertOptions(
            check_utf8=False,
            column_types=_strings(names),
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    yield from reader


def _strings(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def _checked(rows: CsvRows, stream: LineStream, dialect: CsvDialect) -> CsvRows:
    """The same records with those among the bad that were no UTF-8."""
    if not stream.has_replaced or not rows.texts.num_columns:
        return rows
    marks = [pc.match_substring(column, NO_UTF8) for column in rows.texts.columns]
    marked = functools.reduce(pc.or_, marks).to_numpy(zero_copy_only=False)
    message = "expected UTF-8. Received: other bytes."
    found = [
        BadRecord(int(rows.rows[at]), stream.stored(text), message)
        for at in np.flatnonzero(marked).tolist()
        for text in [record_text(rows.texts, at, dialect).decode()]
    ]
    good = rows.texts.filter(pa.array(~marked))
    return CsvRows(good, rows.rows[~marked], sorted(rows.bad + found))


def _without_last(rows: CsvRows) -> CsvRows:
    last_good = rows.rows[-1] if len(rows.rows) else -1
    last_bad = rows.bad[-1].row if rows.bad else -1
    if last_bad > last_good:
        return rows._replace(bad=rows.bad[:-1])
    return CsvRows(rows.texts.slice(0, max(0, len(rows.rows) - 1)), rows.rows[:-1], rows.bad)


def record_text(texts: pa.RecordBatch, index: int, dialect: CsvDialect) -> bytes:
    """A record as CSV; its quotes may stand elsewhere than in the file."""
    line = io.StringIO()
    values = [column[index].as_py() for column in texts.columns]
    csv.writer(line, delimiter=dialect.delimiter, lineterminator="").writerow(values)
    return line.getvalue().encode()
