"""A model's outputs as Arrow columns, of the same types whatever the batch.

tfx-bsl's `TensorsToRecordBatchConverter` does the like, but knows neither bfloat16 nor bool
and gives lists of free length for every rank, which readers cannot tell from ragged ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from transforms.engine.arrays import dtype_name
from transforms.engine.signature import TensorField
from transforms.shapes import FreeShape

# Floats that few readers know leave as float32, which holds them exactly.
_WIDENED = ("bfloat16", "float16")

_ARROW_TYPES = {
    "bool": pa.bool_(),
    "string": pa.binary(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    **{name: pa.float32() for name in _WIDENED},
    **{
        f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")()
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}

_MOST_OFFSETS = np.iinfo(np.int32).max


class OutputError(ValueError):
    """A model's output cannot be a column."""


def output_schema(fields: Sequence[TensorField]) -> list[pa.Field]:
    """The columns that outputs become.

    A row that is a scalar is a primitive; each further dimension is a fixed-size list, or a
    list where any dimension is free (or zero, which Parquet cannot hold as fixed-size).
    An output of unknown rank is one flat list. Half floats become float32, strings bytes.

    Raises:
      OutputError: no column holds the output's dtype.
    """
    return [pa.field(field.name, _column_type(field)) for field in fields]


def outputs_to_columns(
    outputs: Mapping[str, np.ndarray], fields: Sequence[TensorField]
) -> list[tuple[str, pa.Array]]:
    """The outputs of some rows as columns of the types that `output_schema` says.

    Contiguous numbers share the output's memory.

    Args:
      outputs: each `[rows, …]`, by name.
      fields: the model's outputs, in the order wanted.

    Raises:
      OutputError: an output is missing, or has not the shape that the field says.
    """
    return [(field.name, _column(outputs, field)) for field in fields]


def _column_type(field: TensorField) -> pa.DataType:
    kind = _ARROW_TYPES.get(field.dtype)
    if kind is None:
        raise OutputError(
            f"expected output '{field.name}' as booleans, numbers or strings. "
            f"Received: {field.dtype}. Cast it in the model."
        )
    if field.shape is None:
        return pa.list_(kind)
    fixed = _is_fixed(field.shape)
    for size in reversed(field.shape):
        kind = pa.list_(kind, size) if fixed and size is not None else pa.list_(kind)
    return kind


def _is_fixed(shape: FreeShape) -> bool:
    return all(size is not None and size > 0 for size in shape)


def _column(outputs: Mapping[str, np.ndarray], field: TensorField) -> pa.Array:
    values = outputs.get(field.name)
    if values is None or not _has_shape(values, field.shape):
        received = (
            f"outputs {', '.join(outputs)}"
            if values is None
            else f"{dtype_name(values)}{list(values.shape)}"
        )
        raise OutputError(f"expected output '{field.name}' as {field}. Received: {received}.")
    if field.shape is None:
        values = values.reshape(len(values), math.prod(values.shape[1:]))
    leaf_type = _ARROW_TYPES[field.dtype]
    array = _leaf(values.reshape(-1), leaf_type)
    fixed = field.shape is not None and _is_fixed(field.shape)
    for axis in range(values.ndim - 1, 0, -1):
        lists = math.prod(values.shape[:axis])
        array = _lists(array, lists, values.shape[axis], fixed)
    return array


def _has_shape(values: np.ndarray, shape: FreeShape | None) -> bool:
    if shape is None:
        return values.ndim > 0
    return values.ndim == len(shape) + 1 and all(
        want is None or have == want for have, want in zip(values.shape[1:], shape, strict=True)
    )


def _leaf(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_binary(kind):
        return pa.array(values.tolist(), kind)
    return pa.array(values.astype(kind.to_pandas_dtype(), copy=False))


def _lists(values: pa.Array, lists: int, size: int, fixed: bool) -> pa.Array:
    if fixed:
        kind = pa.list_(values.type, size)
        return pa.Array.from_buffers(kind, lists, [None], children=[values])
    if lists * size > _MOST_OFFSETS:
        raise OutputError(
            f"expected at most {_MOST_OFFSETS} values in a batch's output. "
            f"Received: {lists * size}. Pass a smaller --batch_size."
        )
    offsets = np.arange(lists + 1, dtype=np.int32) * np.int32(size)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
