"""The records of a CSV file as strings, each with its position, and those that are none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.sources.base import BLOCK_ROWS
from pipelines.sources.csv_borders import CsvBody, check_end, find_borders
from pipelines.sources.csv_header import CsvDialect, Header
from pipelines.sources.csv_records import Records, RecordStream
from pipelines.sources.record_limits import too_long
from pipelines.sources.streams import CHUNK_BYTES
from pipelines.sources.text_streams import BYTE_ORDER_MARK, text_chunks
from pipelines.splits import Split
from transforms.engine.stage_times import DECODE, STAGE_TIMES


class BadRecord(NamedTuple):
    """A record that gives no row: its position, what it is, None if it is too long, and why."""

    row: int
    text: bytes | None
    message: str


class CsvRows(NamedTuple):
    """Some records of a file.

    Attributes:
      texts: the good ones, every column of strings, an empty one where there is no value.
      rows: their positions, int64: numbers from 0, counted without header and blank lines, or
        the bytes at which they start.
      bad: the others among them.
    """

    texts: pa.RecordBatch
    rows: np.ndarray
    bad: list[BadRecord]

    def blocks(self) -> Iterator[CsvRows]:
        """The same records, a block at a time."""
        bad = self.bad
        for start in range(0, max(len(self.rows), len(bad) and 1), BLOCK_ROWS):
            rows = self.rows[start : start + BLOCK_ROWS]
            is_last = start + BLOCK_ROWS >= len(self.rows)
            here = len(bad) if is_last else sum(record.row < rows[-1] for record in bad)
            yield CsvRows(self.texts.slice(start, BLOCK_ROWS), rows, bad[:here])
            bad = bad[here:]


class CsvReader:
    """Reads the records of one split."""

    def __init__(self, path: str, header: Header, dialect: CsvDialect, split: Split) -> None:
        """Takes a file that has columns, and which part of it to read."""
        self._path = path
        self._header = header
        self._dialect = dialect
        self._split = split
        self._stream: RecordStream | None = None
        self._next_number = split.first_row

    @property
    def next_row(self) -> int:
        """The position of the first record that cannot be read, once that is known."""
        if self._split.byte_rows:
            return self._split.start if self._stream is None else self._stream.offset
        return self._next_number

    def __iter__(self) -> Iterator[CsvRows]:
        """Yields all records, in order.

        Raises:
          DamagedFileError: after the last record that can be read, if the file does not end
            there.
          CsvBorderError: the next split does not start where a record does.
        """
        start, stop = self._borders()
        if start == stop:
            return
        delimiter, most = ord(self._dialect.delimiter), self._dialect.max_record_bytes
        chunk_bytes = min(CHUNK_BYTES, most)
        chunks = _until(text_chunks(self._path, start, stop, chunk_bytes), start, stop)
        stream = RecordStream(chunks, start, delimiter, most)
        self._stream = stream
        for records in stream.to_end() if stop is None else stream:
            count = len(records.starts)
            rows = records.starts
            if not self._split.byte_rows:
                rows = np.arange(self._next_number, self._next_number + count)
            self._next_number += count
            if count:
                yield parse(records, rows, self._header.names, self._dialect)
        if stop is not None:
            check_end(self._path, stream)

    def _borders(self) -> tuple[int, int | None]:
        if not self._split.start and self._split.stop is None:
            return self._header.stop, None
        body = CsvBody(self._header.stop, len(self._header.names), ord(self._dialect.delimiter))
        return find_borders(self._path, body, self._split.start, self._split.stop)


@STAGE_TIMES.timed(DECODE)
def parse(records: Records, rows: np.ndarray, names: list[str], dialect: CsvDialect) -> CsvRows:
    """Parses some records.

    Args:
      records: of a file that has the columns `names`.
      rows: their positions.
      names: of the columns.
      dialect: how the file is written.
    """
    none = CsvRows(no_texts(names), rows[:0], [])
    if not records.text:
        message = too_long("a record", dialect.max_record_bytes)
        return none._replace(bad=[BadRecord(int(rows[0]), None, message)])
    if not _is_utf8(records.text):
        return _without_other_bytes(records, rows, names, dialect)
    skipped: list[tuple[int, str]] = []

    def skip(record: pacsv.InvalidRow) -> str:
        message = f"expected {record.expected_columns} fields. Received: {record.actual_columns}."
        skipped.append((record.number - 1, message))
        return "skip"

    text = records.text
    if text.startswith(BYTE_ORDER_MARK):
        # The parser takes one away.
        text = BYTE_ORDER_MARK + text
    table = pacsv.read_csv(
        pa.BufferReader(text),
        # Only without threads does the parser number the records.
        pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
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
    if table.num_rows + len(skipped) != len(rows):
        raise RuntimeError(
            f"expected {len(rows)} records from byte {records.first} on. Received: "
            f"{table.num_rows + len(skipped)} from the parser. Please report it."
        )
    pieces = records.pieces() if skipped else []
    bad = [BadRecord(int(rows[at]), _bare(pieces[at]), message) for at, message in skipped]
    good = np.delete(rows, [at for at, _ in skipped])
    batches = table.combine_chunks().to_batches()
    return CsvRows(batches[0] if batches else none.texts, good, bad)


def no_texts(names: list[str]) -> pa.RecordBatch:
    """No records of a file that has the columns `names`."""
    return pa.RecordBatch.from_pylist([], schema=_strings(names))


def record_text(texts: pa.RecordBatch, index: int, dialect: CsvDialect) -> bytes:
    """A record as CSV; its quotes may stand elsewhere than in the file."""
    line = io.StringIO()
    values = [column[index].as_py() for column in texts.columns]
    csv.writer(line, delimiter=dialect.delimiter, lineterminator="").writerow(values)
    return line.getvalue().encode()


def _until(chunks: Iterator[bytes], at: int, stop: int | None) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk if stop is None else chunk[: stop - at]
        at += len(chunk)
        if stop is not None and at >= stop:
            return


def _without_other_bytes(
    records: Records, rows: np.ndarray, names: list[str], dialect: CsvDialect
) -> CsvRows:
    pieces = records.pieces()
    is_text = np.array([_is_utf8(piece) for piece in pieces])
    good = [piece for piece, is_good in zip(pieces, is_text, strict=True) if is_good]
    message = "expected UTF-8. Received: other bytes."
    bad = [
        BadRecord(int(rows[at]), _bare(pieces[at]), message)
        for at in np.flatnonzero(~is_text).tolist()
    ]
    if not good:
        return CsvRows(no_texts(names), rows[:0], bad)
    lengths = np.cumsum([0, *map(len, good[:-1])])
    parsed = parse(Records(b"".join(good), lengths, 0), rows[is_text], names, dialect)
    return parsed._replace(bad=sorted(parsed.bad + bad))


def _bare(text: bytes) -> bytes:
    return text.rstrip(b"\r\n")


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _strings(names: list[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])
