"""Rows given one by one (dicts, arrays, bytes) as the named arrays that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.casting import FLOATS
from transforms.column_types import ColumnSpec
from transforms.conversion import (
    CastError,
    ColumnConversion,
    Conversion,
    FeatureError,
    NullValueError,
    Part,
    RowError,
    ShapeError,
    expectation,
    fit_part,
    join_columns,
    merge_parts,
)
from transforms.engine.arrays import dtype_name
from transforms.engine.signature import TensorField
from transforms.matching import Feed, match_specs

# The column that a row of bytes is.
RECORD = "record"

_SCALARS = (bool, int, float, np.generic)
_NAMED_COLUMNS = 20


class _Missing(NamedTuple):
    """In place of a value that a row lacks: the columns that it has."""

    columns: tuple[Any, ...]

    def __str__(self) -> str:
        names = ", ".join(map(str, self.columns[:_NAMED_COLUMNS])) or "none"
        return f"a row without it, with columns {names}"


def match_row(
    row: Any, inputs: Sequence[TensorField], input_map: Mapping[str, str] | None = None
) -> tuple[Feed, ...]:
    """Finds what feeds every input of a model in rows like this one.

    A dict is matched like columns; an array feeds the single input; bytes are the column
    `record`.

    Raises:
      FeatureError: an input has no value, or one whose dtype or rank cannot fit.
    """
    if isinstance(row, Mapping):
        specs = [_value_spec(str(name), value) for name, value in row.items()]
        return match_specs(specs, inputs, input_map)
    if isinstance(row, bytes):
        return match_specs([ColumnSpec(RECORD, "string", (), "bytes")], inputs, input_map)
    if len(inputs) != 1:
        names = ", ".join(field.name for field in inputs)
        raise FeatureError(
            f"expected a dict with a value for each input {names}. "
            f"Received: {type(row).__name__}. Make each row a dict."
        )
    return match_specs([_value_spec(inputs[0].name, row)], inputs)


def rows_to_arrays(rows: Sequence[Any], feeds: Sequence[Feed]) -> Conversion:
    """Converts rows like `columns_to_arrays` does a batch, by the same rules.

    Args:
      rows: dicts of NumPy values, Python scalars, lists, strings or bytes by column; or
        arrays and bytes, each of which is the value of every feed.
      feeds: which values, and the dtype and shape each is brought to.

    Returns:
      One group for each combination of row shapes and one error for each row that lacks a
      value, or whose value does not fit.
    """
    columns = {feed.name: _convert([_value(row, feed) for row in rows], feed) for feed in feeds}
    return join_columns(columns, len(rows))


def _value(row: Any, feed: Feed) -> Any:
    if not isinstance(row, Mapping):
        return row
    return row[feed.column] if feed.column in row else _Missing(tuple(row))


def _value_spec(name: str, value: Any) -> ColumnSpec:
    try:
        array = _as_array(value)
    except FeatureError as error:
        return ColumnSpec(name, None, None, str(error))
    dtype = dtype_name(array)
    sizes = ",".join(map(str, array.shape))
    return ColumnSpec(name, dtype, (None,) * array.ndim, f"{dtype}[{sizes}]")


def _convert(values: Sequence[Any], feed: Feed) -> ColumnConversion:
    stacked = _stacked(values)
    if stacked is not None:
        return fit_part(Part(None, stacked), feed.column, feed.field)
    expected = expectation(feed.column, feed.field)
    errors: list[RowError] = []
    alike: dict[tuple[np.dtype, tuple[int, ...]], list[tuple[int, np.ndarray]]] = {}
    for row, value in enumerate(values):
        try:
            array = _as_array(value)
        except FeatureError as error:
            message = f"{expected}. Received: {error}."
            errors.append(RowError(row, type(error).__name__, message))
        else:
            alike.setdefault((array.dtype, array.shape), []).append((row, array))
    parts: list[Part] = []
    for pairs in alike.values():
        numbers, arrays = zip(*pairs, strict=True)
        fitted = fit_part(Part(np.array(numbers), np.stack(arrays)), feed.column, feed.field)
        parts.extend(fitted.parts)
        errors.extend(fitted.errors)
    merged = merge_parts(parts)
    if len(merged) == 1 and not errors:
        merged = [Part(None, merged[0].values)]
    return ColumnConversion(merged, errors)


def _stacked(values: Sequence[Any]) -> np.ndarray | None:
    """All values as one array where they are of one kind, dtype and shape; else None."""
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind is np.ndarray:
        alike = len({(value.dtype, value.shape) for value in values}) == 1
        return np.stack(values) if alike and _is_numeric(values[0].dtype) else None
    if kind in (bytes, str):
        try:
            return _objects([_text_bytes(value) for value in values])
        except CastError:
            return None
    if not issubclass(kind, _SCALARS):
        return None
    array = np.array(values)
    # Python integers of mixed sizes may have become floats.
    alike = array.dtype == np.asarray(values[0]).dtype
    return array if alike and _is_numeric(array.dtype) else None


def _is_numeric(dtype: np.dtype) -> bool:
    return dtype.kind in "biufc" or dtype.name in FLOATS


def _as_array(value: Any) -> np.ndarray:
    """One value as an array; text becomes objects of bytes.

    Raises:
      NullValueError: it is missing, None or has a None inside.
      ShapeError: its nested lists are no rectangle.
      CastError: no tensor holds it.
    """
    if isinstance(value, _Missing):
        raise NullValueError(str(value))
    try:
        array = np.asarray(value)
        if array.dtype.kind in "SU" and not isinstance(value, (np.ndarray, np.generic)):
            # As fixed-width text it has lost trailing zero bytes, and numbers became text.
            array = np.array(value, dtype=object)
    except ValueError:
        raise ShapeError("lists of different lengths") from None
    if _is_numeric(array.dtype):
        return array
    if array.dtype.kind not in "OSU":
        raise CastError(f"{array.dtype}, which no tensor holds")
    flat = array.reshape(-1).tolist()
    if any(entry is None for entry in flat):
        raise NullValueError("null")
    return _objects([_text_bytes(entry) for entry in flat]).reshape(array.shape)


def _objects(values: Sequence[bytes]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _text_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise CastError(f"{type(value).__name__}, which no tensor holds")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise CastError("text that is no valid Unicode") from None
