"""Failed rows as a table that can be read, mended and scored again: `_mirrorbeam/failed/`.

A failed part has the input's own columns, `record` for what could not be decoded, and
`_source _row _stage _error _message`. A copy of a row above 1 MiB is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.redaction import redacted
from pipelines.sinks.base import plain_schema
from transforms.block import ROW_COLUMN, SOURCE_COLUMN
from transforms.failures import Failure

RECORD_COLUMN = "record"
MAX_COPY_BYTES = 2**20

_WHY = pa.schema([
    (SOURCE_COLUMN, pa.string()),
    (ROW_COLUMN, pa.int64()),
    ("_stage", pa.string()),
    ("_error", pa.string()),
    ("_message", pa.string()),
])
FAILED_COLUMNS = tuple(_WHY.names)


def failed_schema(input_schema: pa.Schema) -> pa.Schema:
    """The columns of the failed parts of a source with the given columns.

    An input column `record` of bytes doubles as the copy of undecoded rows; one of another
    type stays the input's own, and undecoded rows then have no copy.
    """
    own = [
        field.with_nullable(True)
        for field in plain_schema(input_schema)
        if field.name not in FAILED_COLUMNS]
    if RECORD_COLUMN not in input_schema.names:
        own.append(pa.field(RECORD_COLUMN, pa.binary()))
    return pa.schema([*own, *_WHY])


def failures_to_batch(failures: Sequence[Failure], schema: pa.Schema) -> pa.RecordBatch:
    """The failures as rows of a failed part, in the order of their sources and places.

    Those that a later stage found come in behind those of reading, and a table in order is
    read again in one pass over its sources.

    Args:
      failures: `data` is a dict of values by column, the undecoded bytes, or None.
      schema: what `failed_schema` gave. A value that does not fit its column is left out,
        and the row's message says so.
    """
    if all(failure.source is not None and failure.row is not None for failure in failures):
        failures = sorted(failures, key=lambda failure: (failure.source, failure.row))
    rows = [_copy(failure.data, schema) for failure in failures]
    messages = [failure.message for failure in failures]
    columns = []
    for field in schema:
        if field.name in FAILED_COLUMNS:
            continue
        values = [row.get(field.name) for row in rows]
        columns.append(_column(field, values, messages))
    columns += [
        pa.array([failure.source for failure in failures], pa.string()),
        pa.array([failure.row for failure in failures], pa.int64()),
        pa.array([failure.stage for failure in failures], pa.string()),
        pa.array([failure.error for failure in failures], pa.string()),
        pa.array([_storable(message) for message in messages], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _copy(data: Any, schema: pa.Schema) -> Mapping[str, Any]:
    if isinstance(data, bytes):
        data = {RECORD_COLUMN: data} if _takes_bytes(schema) else None
    if data is None or _size_bytes(data) > MAX_COPY_BYTES:
        return {}
    if not isinstance(data, Mapping):
        raise TypeError(
            "expected a failed row as a dict by column, bytes or None. "
            f"Received: {type(data).__name__}")
    return data


def _takes_bytes(schema: pa.Schema) -> bool:
    kind = schema.field(RECORD_COLUMN).type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _size_bytes(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(_size_bytes(item) for item in value.values())
    if isinstance(value, Sequence) and value and isinstance(value[0], (int, float)):
        return 8 * len(value)
    if isinstance(value, Iterable):
        return sum(_size_bytes(item) for item in value)
    return 8 if isinstance(value, (bool, int, float, type(None))) else sys.getsizeof(value)


def _column(field: pa.Field, values: list[Any], messages: list[str]) -> pa.Array:
    """The values as an array; what cannot be one is null and told in the row's message."""
    values = [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
    try:
        return pa.array(values, field.type)
    except _MISFITS:
        pieces = []
        for row, value in enumerate(values):
            try:
                pieces.append(pa.array([value], field.type))
            except _MISFITS as error:
                pieces.append(pa.nulls(1, field.type))
                messages[row] += f" (column {field.name!r} could not be copied: {error})"
        return pa.concat_arrays(pieces)


def _storable(message: str) -> str:
    """Messages may quote addresses with credentials, and bytes that are no UTF-8 for Arrow."""
    return redacted(message.encode(errors="backslashreplace").decode())


_MISFITS = (pa.ArrowException, ValueError, TypeError, OverflowError)
