"""Record batches as tf.Example records, with tfx-bsl's encoder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from transforms.column_types import column_spec, is_list, is_text
from transforms.columns import without_encodings
from transforms.examples import ExampleError


def check_encodable(schema: pa.Schema) -> None:
    """Checks that every column can be a feature.

    Raises:
      ExampleError: a column is neither numbers nor text, nor lists of them.
    """
    for field in schema:
        spec = column_spec(field)
        if spec.shape is None or (spec.dtype is None and not pat.is_null(field.type)):
            raise ExampleError(
                f"expected column '{field.name}' as booleans, numbers, strings, bytes or lists "
                f"of them, which tf.Example holds. Received: {field.type}. "
                "Pass --keep without it, or --output_format parquet."
            )


def encode_examples(batch: pa.RecordBatch) -> list[bytes]:
    """One serialized tf.Example for each row.

    Integers and booleans become int64, floats float32 (float64 is rounded), text bytes.
    Nested and fixed-size lists are written flat. A null row has a feature without a kind,
    which readers take as missing.

    Raises:
      ExampleError: a column's type has no feature, a list holds a null, or an integer is
        above the range of int64.
    """
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    check_encodable(batch.schema)
    if not batch.num_columns:
        return [b""] * batch.num_rows
    columns = [
        _feature_lists(name, column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    flat = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    return RecordBatchToExamplesEncoder().encode(flat)


def inner_nulls(name: str, column: pa.Array) -> dict[int, str]:
    """Rows of a column that no tf.Example holds, and why: a list of theirs holds a null.

    Args:
      name: of the column, for the message.
      column: of a type that `check_encodable` takes.
    """
    array = without_encodings(column)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    rows: set[int] = set()
    for offsets, values in list(_levels(array))[1:]:
        if values.null_count:
            nulls = values.is_null().to_numpy(zero_copy_only=False)
            before = np.concatenate([[0], np.cumsum(nulls)])
            has_null = (before[offsets[1:]] > before[offsets[:-1]]) & valid
            rows.update(np.flatnonzero(has_null).tolist())
    message = (
        f"expected lists without nulls in column '{name}': a tf.Example holds none. Received: a "
        "list with a null. Pass --keep without it, or --output_format parquet."
    )
    return dict.fromkeys(sorted(rows), message)


def _feature_lists(name: str, column: pa.Array) -> pa.LargeListArray:
    """Any column as flat lists of the three types that the encoder takes."""
    nulls = without_encodings(column).is_null()
    offsets, leaf = _flat(name, column)
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), _leaf(name, leaf), mask=nulls if nulls.true_count else None
    )


def _flat(name: str, column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Where each row's values start in the leaf array, and that array."""
    for row, message in inner_nulls(name, column).items():
        raise ExampleError(f"{message} It is row {row} of a batch.")
    return list(_levels(without_encodings(column)))[-1]


def _levels(array: pa.Array) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Where each row's values start and these values: rows themselves, then lists inwards."""
    offsets = np.arange(len(array) + 1)
    yield offsets, array
    while is_list(array.type) or pat.is_fixed_size_list(array.type):
        if pat.is_fixed_size_list(array.type):
            size = array.type.list_size
            first, last = array.offset * size, (array.offset + len(array)) * size
            offsets = offsets * size
        else:
            child_offsets = array.offsets.to_numpy().astype(np.int64)
            first, last = int(child_offsets[0]), int(child_offsets[-1])
            offsets = child_offsets[offsets] - first
        array = without_encodings(array.values.slice(first, last - first))
        yield offsets, array


def _leaf(name: str, leaf: pa.Array) -> pa.Array:
    kind = leaf.type
    if pat.is_null(kind):
        return leaf.cast(pa.float32())
    if is_text(kind):
        return leaf.cast(pa.large_binary())
    if pat.is_floating(kind):
        return leaf.cast(pa.float32(), safe=False)
    try:
        return leaf.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ExampleError(
            f"expected column '{name}' within int64. Received: {error}. Pass --keep without it, "
            "or --output_format parquet."
        ) from None
