"""What turning rows into arrays gives: groups of arrays, and the rows that did not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from transforms.casting import cast, cast_refusal
from transforms.engine.arrays import dtype_name, numpy_dtype
from transforms.engine.signature import TensorField
from transforms.shapes import fit_shape


class FeatureError(ValueError):
    """Columns cannot feed a model; says what was expected, received, and what to do."""


class NullValueError(FeatureError):
    """A row has no value, or a null inside its value."""


class ShapeError(FeatureError):
    """A row's value has another shape than the model takes."""


class CastError(FeatureError):
    """A row's value does not survive the cast to the model's dtype."""


class RowError(NamedTuple):
    """Why one row is not converted.

    Attributes:
      row: its index within the batch.
      error: name of the error's class.
      message: what was expected and what was received.
    """

    row: int
    error: str
    message: str


class ArrayGroup(NamedTuple):
    """Rows of equal shapes, ready to be fed.

    Attributes:
      rows: their indices within the batch, ascending; None means every row, in order.
      arrays: by the fed name, each `[rows, …]`.
    """

    rows: np.ndarray | None
    arrays: dict[str, np.ndarray]


class Conversion(NamedTuple):
    """A whole batch converted: each row is in one group or has one error."""

    groups: list[ArrayGroup]
    errors: list[RowError]


class Part(NamedTuple):
    """Some rows of one column as an array; `rows` None means every row, in order."""

    rows: np.ndarray | None
    values: np.ndarray


class ColumnConversion(NamedTuple):
    """One column converted: parts of different shapes, and rows in none of them."""

    parts: list[Part]
    errors: list[RowError]


def expectation(column: str, field: TensorField | None) -> str:
    """The first half of an error message: what the column had to be."""
    return f"expected column '{column}'" + (f" as {field}" if field is not None else "")


def fit_part(part: Part, column: str, field: TensorField | None) -> ColumnConversion:
    """Gives rows of one shape the shape and dtype of a field.

    Args:
      part: rows as they are stored, `[rows, …]`; strings are objects of bytes.
      column: the name for messages.
      field: what the rows feed; None leaves them as they are.

    Returns:
      At most one part, and an error for each row whose shape or values do not fit.
    """
    values = part.values
    if field is None:
        return ColumnConversion([part], [])
    shape = fit_shape(values.shape[1:], field.shape)
    if shape is None:
        received = f"{dtype_name(values)}[{','.join(map(str, values.shape[1:]))}]"
        return _all_failed(part, ShapeError, f"{expectation(column, field)}. Received: {received}.")
    shaped = values.reshape(len(values), *shape)
    if values.dtype == numpy_dtype(field.dtype):
        return ColumnConversion([Part(part.rows, shaped)], [])
    refusal = cast_refusal(dtype_name(values), field.dtype)
    if refusal is not None:
        message = f"{expectation(column, field)}. Received: {dtype_name(values)}; {refusal}."
        return _all_failed(part, CastError, message)
    fitted, misfits = cast(shaped, field.dtype)
    if misfits is None:
        return ColumnConversion([Part(part.rows, fitted)], [])
    return _without_misfits(part.rows, shaped, fitted, misfits, expectation(column, field))


def _all_failed(part: Part, error: type[FeatureError], message: str) -> ColumnConversion:
    rows = np.arange(len(part.values)) if part.rows is None else part.rows
    return ColumnConversion([], [RowError(int(row), error.__name__, message) for row in rows])


def _without_misfits(
    rows: np.ndarray | None,
    values: np.ndarray,
    fitted: np.ndarray,
    misfits: np.ndarray,
    expected: str,
) -> ColumnConversion:
    rows = np.arange(len(values)) if rows is None else rows
    flags = misfits.reshape(len(values), -1)
    bad = flags.any(axis=1)
    errors = []
    for index in np.flatnonzero(bad):
        value = values[index].reshape(-1)[flags[index].argmax()]
        message = f"{expected}. Received: {value!s} ({dtype_name(values)}), which it cannot hold."
        errors.append(RowError(int(rows[index]), CastError.__name__, message))
    parts = [] if bad.all() else [Part(rows[~bad], fitted[~bad])]
    return ColumnConversion(parts, errors)


def merge_parts(parts: Sequence[Part]) -> list[Part]:
    """The parts with those of one shape and dtype put together, rows ascending."""
    by_shape: dict[tuple[tuple[int, ...], np.dtype], list[Part]] = {}
    for part in parts:
        by_shape.setdefault((part.values.shape[1:], part.values.dtype), []).append(part)
    return [_concatenated(alike) for alike in by_shape.values()]


def _concatenated(parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([part.rows for part in parts if part.rows is not None])
    order = np.argsort(rows)
    return Part(rows[order], np.concatenate([part.values for part in parts])[order])


def join_columns(columns: Mapping[str, ColumnConversion], row_count: int) -> Conversion:
    """Puts columns together: one group for each combination of their parts.

    Args:
      columns: by the name they feed, in the order in which a row's first error is taken.
      row_count: rows of the batch.
    """
    if row_count == 0:
        return Conversion([], [])
    if all(_is_whole(column) for column in columns.values()):
        arrays = {name: column.parts[0].values for name, column in columns.items()}
        return Conversion([ArrayGroup(None, arrays)], [])
    errors: dict[int, RowError] = {}
    for column in columns.values():
        for error in column.errors:
            errors.setdefault(error.row, error)
    part_of = np.full((len(columns), row_count), -1)
    for position, column in enumerate(columns.values()):
        for index, part in enumerate(column.parts):
            part_of[position, slice(None) if part.rows is None else part.rows] = index
    groups = [
        ArrayGroup(
            None if len(rows) == row_count else rows,
            {
                name: _pick(column.parts[index], rows)
                for (name, column), index in zip(columns.items(), indices, strict=True)
            },
        )
        for indices, rows in _combinations(part_of)
    ]
    return Conversion(groups, sorted(errors.values()))


def _is_whole(column: ColumnConversion) -> bool:
    return not column.errors and len(column.parts) == 1 and column.parts[0].rows is None


def _combinations(part_of: np.ndarray) -> list[tuple[list[int], np.ndarray]]:
    """Rows by the parts that hold them, in order of first rows; rows in no part are left out."""
    good = np.flatnonzero((part_of >= 0).all(axis=0))
    if not len(good):
        return []
    codes = np.zeros(len(good), np.intp)
    firsts = np.zeros(1, np.intp)
    for parts in part_of[:, good]:
        firsts, codes = distinct(codes * (int(parts.max()) + 1) + parts)
    return [
        (part_of[:, good[first]].tolist(), good[codes == code])
        for first, code in sorted((int(first), code) for code, first in enumerate(firsts))
    ]


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct value of an integer array is first, and for each value its number."""
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(1, np.intp), np.zeros(len(values), np.intp)
    # NumPy sorts 16-bit integers by radix, ten times as fast as wider ones.
    narrow = (values - low).astype(np.uint16) if high - low < 1 << 16 else values
    _, firsts, codes = np.unique(narrow, return_index=True, return_inverse=True)
    return firsts, codes


def _pick(part: Part, rows: np.ndarray) -> np.ndarray:
    if part.rows is None:
        return part.values[rows]
    if len(part.rows) == len(rows):
        return part.values
    return part.values[np.searchsorted(part.rows, rows)]
