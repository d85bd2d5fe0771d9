"""What a CSV file starts with, and how it is written."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import NamedTuple

from pipelines.sources.csv_records import RecordStream
from pipelines.sources.record_limits import DEFAULT_MAX_CSV_RECORD_BYTES
from pipelines.sources.streams import DamagedFileError
from pipelines.sources.text_streams import text_chunks, without_mark

_HEADER_CHUNK_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class CsvDialect:
    """How a file is written.

    Attributes:
      delimiter: between fields.
      has_header: whether the first record names the columns.
      max_record_bytes: what is longer is no record.
    """

    delimiter: str = ","
    has_header: bool = True
    max_record_bytes: int = DEFAULT_MAX_CSV_RECORD_BYTES


class Header(NamedTuple):
    """What a file starts with.

    Attributes:
      names: the columns, as the header names them, or `f0`, `f1`, …; none if the file is empty.
      stop: the byte at which the rows start.
    """

    names: list[str]
    stop: int


def read_header(path: str, dialect: CsvDialect) -> Header:
    """Reads the columns of a file.

    Raises:
      DamagedFileError: the first record cannot be read, is no text of UTF-8, or names two
        columns alike.
    """
    start, chunks = without_mark(text_chunks(path, chunk_bytes=_HEADER_CHUNK_BYTES))
    stream = RecordStream(chunks, start, ord(dialect.delimiter), dialect.max_record_bytes)
    records = next((group for group in stream.to_end() if len(group.starts)), None)
    if records is None:
        return Header([], start)
    text = records.pieces()[0]
    if not text:
        raise DamagedFileError(f"the first record has more than {dialect.max_record_bytes} bytes")
    if dialect.has_header and b"\0" in text:
        raise DamagedFileError(
            "expected a header of UTF-8 text. Received: zero bytes, as UTF-16 and binary files "
            "have them")
    stop = int(records.starts[0]) + len(text)
    try:
        fields = io.StringIO(text.decode(errors="replace"), newline="")
        first = next(csv.reader(fields, delimiter=dialect.delimiter))
    except csv.Error as error:
        raise DamagedFileError(f"the first record is no CSV: {error}") from error
    if not dialect.has_header:
        return Header([f"f{index}" for index in range(len(first))], start)
    if len(set(first)) < len(first):
        raise DamagedFileError(f"the header names columns alike: {', '.join(first)}")
    return Header(first, stop)
