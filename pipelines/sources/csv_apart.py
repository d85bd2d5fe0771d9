"""Single CSV records that lie elsewhere than in their file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.sources.csv_header import CsvDialect
from pipelines.sources.csv_records import Records, RecordStream
from pipelines.sources.csv_rows import BadRecord, CsvRows, no_texts, parse
from pipelines.sources.streams import DamagedFileError


def parse_apart(
    texts: Sequence[bytes], rows: np.ndarray, names: list[str], dialect: CsvDialect
) -> Iterator[CsvRows]:
    """Parses what is to be one record each, wherever it is from.

    Args:
      texts: the records; line ends may be missing.
      rows: their positions.
      names: of their columns.
      dialect: how they are written.

    Yields:
      Some at once, in order.
    """
    start = 0
    for is_simple, group in itertools.groupby(texts, lambda text: _is_simple(text, dialect)):
        some = list(group)
        here = rows[start : start + len(some)]
        start += len(some)
        if not is_simple:
            for row, text in zip(here.tolist(), some, strict=True):
                yield _parse_single(text, row, names, dialect)
            continue
        ends = np.cumsum([len(text) + 1 for text in some])
        records = Records(b"\n".join([*some, b""]), np.concatenate(([0], ends[:-1])), 0)
        yield parse(records, here, names, dialect)


def _is_simple(text: bytes, dialect: CsvDialect) -> bool:
    """Whether a text is surely one record."""
    has_marks = b'"' in text or b"\n" in text or b"\r" in text
    return bool(text.strip()) and not has_marks and len(text) < dialect.max_record_bytes


def _parse_single(text: bytes, row: int, names: list[str], dialect: CsvDialect) -> CsvRows:
    rows = np.array([row])
    stream = RecordStream(iter([text]), 0, ord(dialect.delimiter), dialect.max_record_bytes)
    try:
        groups = [records for records in stream.to_end() if len(records.starts)]
    except DamagedFileError as error:
        bad = BadRecord(row, text, f"expected a record. Received: {error}.")
        return CsvRows(no_texts(names), rows[:0], [bad])
    if len(groups) != 1 or len(groups[0].starts) != 1:
        count = sum(len(records.starts) for records in groups)
        bad = BadRecord(row, text, f"expected one record. Received: {count}.")
        return CsvRows(no_texts(names), rows[:0], [bad])
    return parse(groups[0], rows, names, dialect)
