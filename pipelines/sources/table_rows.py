"""The rows of a table of failed rows: which are there, and what is missing of the others."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.failed_rows import RECORD_COLUMN
from pipelines.sources.origins import Origin
from pipelines.sources.parquet import misfit_column
from pipelines.sources.parquet_rows import Rows
from transforms.failures import Failure
from transforms.matching import RESERVED_COLUMNS


class Kind(enum.Enum):
    """How a failed row comes back: its columns as they stand, its record, or its source."""

    STORED = "stored"
    RECORD = "record"
    ABSENT = "absent"


class FailedRow(NamedTuple):
    """What a table says of one row, beside its columns."""

    source: str | None
    row: int | None
    stage: str | None
    error: str | None
    message: str | None


def has_own_record(origin: Origin | None) -> bool:
    """Whether `record` is a column of the input, rather than what could not be decoded."""
    return origin is None or RECORD_COLUMN in origin.schema.names


def columns_of_rows(names: Sequence[str], origin: Origin | None) -> list[str]:
    """A table's columns without the `record` that holds undecoded rows alone."""
    own_record = has_own_record(origin)
    return [name for name in names if name != RECORD_COLUMN or own_record]


def failed_rows(rows: Rows, table: str) -> list[FailedRow]:
    """What a table says of some rows; the table itself is the source of those that have none."""
    columns = (rows.batch.column(name).to_pylist() for name in RESERVED_COLUMNS)
    return [
        FailedRow(table, rows.first_row + at, *said[2:])
        if said[0] is None or said[1] is None
        else FailedRow(*said)
        for at, said in enumerate(zip(*columns, strict=True))
    ]


def kinds_of_rows(
    batch: pa.RecordBatch,
    said: list[FailedRow],
    origin: Origin | None,
    *,
    decodes: bool,
    raw: bool = False,
) -> list[Kind]:
    """How each row of a batch comes back.

    Args:
      batch: all columns of a table.
      said: its rows.
      origin: where they are from.
      decodes: whether records can be decoded.
      raw: whether records are wanted as they are.
    """
    own_record = has_own_record(origin)
    has_record = np.zeros(batch.num_rows, bool)
    if RECORD_COLUMN in batch.schema.names and _holds_bytes(batch, RECORD_COLUMN):
        has_record = _is_there(batch, RECORD_COLUMN) & decodes
    undecoded = np.array([row.stage in ("read", "decode") for row in said], bool)
    has_own = np.zeros(batch.num_rows, bool)
    for name in batch.schema.names:
        if name in RESERVED_COLUMNS or (name == RECORD_COLUMN and not own_record):
            continue
        there = _is_there(batch, name)
        if name == RECORD_COLUMN:
            there = there & ~(undecoded & has_record)
        has_own |= there
    if own_record and not raw:
        has_record &= undecoded
    if raw:
        has_own[:] = False
    kinds = [
        Kind.STORED if own else Kind.RECORD if record else Kind.ABSENT
        for own, record in zip(has_own.tolist(), has_record.tolist(), strict=True)
    ]
    if origin is not None and origin.format == "parquet":
        for at, kind in enumerate(kinds):
            if kind is Kind.STORED and _lacks_a_value(batch, at, said[at]):
                kinds[at] = Kind.ABSENT
    return kinds


def runs(kinds: list[Kind], said: list[FailedRow]) -> Iterator[tuple[Kind, int, int]]:
    """Ranges of rows of one kind, and of one source where they are to be decoded."""
    start = 0
    for at in range(1, len(kinds) + 1):
        if at < len(kinds) and kinds[at] is kinds[start] and (
            kinds[at] is not Kind.RECORD or said[at].source == said[start].source
        ):
            continue
        yield kinds[start], start, at
        start = at


def why_absent(
    row: FailedRow, origin: Origin | None, rereads: bool, lacking: str | None = None
) -> Failure | None:
    """Why a row that is not in its table cannot be read from its source; None if it may be.

    Args:
      row: which one.
      origin: what its table says of the source.
      rereads: whether sources are read.
      lacking: the only column that is not in the table, and is wanted; None for all.
    """
    if row.stage == "read" and row.error == "DamagedFileError":
        # As many rows as lie there, one by one, are the file's own affair.
        return Failure(row.source, row.row, "read", row.error, row.message or "no message")
    reason = None
    if origin is None:
        reason = "a table that does not say of which format its sources are"
    elif not rereads:
        reason = "--reread off"
    if reason is None:
        return None
    if lacking is not None:
        return Failure(
            row.source, row.row, "read", "NoCopyError",
            f"expected column {lacking!r} of the failed row, or leave to read its source. "
            "Received: a table without it, since the job in which the row failed did not read it; "
            f"and {reason}. Pass --reread on, or score row {row.row} of {row.source} again.",
        )  # fmt: skip
    return Failure(
        row.source, row.row, "read", "NoCopyError",
        "expected a copy of the failed row, or leave to read its source. Received: nulls only, "
        f"since copies above 1 MiB are left out, and images; and {reason}. Score row {row.row} "
        f"of {row.source} again.",
    )  # fmt: skip


def _is_there(batch: pa.RecordBatch, name: str) -> np.ndarray:
    there: np.ndarray = batch.column(name).is_valid().to_numpy(zero_copy_only=False)
    return there


def _holds_bytes(batch: pa.RecordBatch, name: str) -> bool:
    kind = batch.schema.field(name).type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _lacks_a_value(batch: pa.RecordBatch, at: int, said: FailedRow) -> bool:
    """Whether the copy of a row lacks the value that it failed for."""
    name = misfit_column(said.message or "") if said.stage == "decode" else None
    if name is None or name not in batch.schema.names:
        return False
    return not batch.column(name)[at].is_valid
