"""NumPy's side of a field: dtypes, bytes, and arrays without rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transforms.engine.signature import TensorField
from transforms.engine.slicing import Columns, count_rows

# What one string is taken to weigh where none has been seen.
_STRING_BYTES = 64
_SAMPLED_STRINGS = 64


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a TensorFlow dtype name; strings are objects."""
    if name == "string":
        return np.dtype(object)
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def dtype_name(values: np.ndarray) -> str:
    """TensorFlow's name for an array's dtype."""
    return "string" if values.dtype.kind in "OSU" else values.dtype.name


def field_row_bytes(fields: Sequence[TensorField]) -> int:
    """Bytes of one row of the fields; a free dimension counts as one, a string as 64 bytes."""
    total = 0
    for field in fields:
        entries = 1
        for size in field.shape or ():
            entries *= size or 1
        entry_bytes = (
            _STRING_BYTES if field.dtype == "string" else numpy_dtype(field.dtype).itemsize
        )
        total += entries * entry_bytes
    return total


def array_bytes(values: np.ndarray) -> int:
    """Bytes an array holds; strings by the lengths of a sample of them."""
    if values.dtype != object or not values.size:
        return values.nbytes
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLED_STRINGS)]
    return values.nbytes + sum(map(len, sample)) * flat.size // sample.size


def columns_row_bytes(columns: Columns) -> int:
    """Bytes of one row of the columns, on average."""
    return sum(map(array_bytes, columns.values())) // max(1, count_rows(columns))


def made_up_rows(field: TensorField, rows: int) -> np.ndarray:
    """Rows of zeros, or of empty strings; free dimensions have size one."""
    shape = (rows, *(size or 1 for size in field.shape or ()))
    if field.dtype == "string":
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, dtype=numpy_dtype(field.dtype))


def no_rows(field: TensorField) -> np.ndarray:
    """An array of a field without rows; free dimensions have size zero."""
    shape = tuple(size or 0 for size in field.shape or ())
    return np.empty((0, *shape), dtype=numpy_dtype(field.dtype))
