"""Arrow columns as NumPy arrays, whatever lists, tensors or views they are stored in."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from transforms.column_types import is_image, is_list, is_number, is_text, is_view
from transforms.conversion import (
    ColumnConversion,
    FeatureError,
    NullValueError,
    Part,
    RowError,
    ShapeError,
    distinct,
)
from transforms.shapes import Shape

_NULL, _RAGGED, _UNFILLED = 1, 2, 3
_FAULTS = {
    _NULL: (NullValueError, "null"),
    _RAGGED: (ShapeError, "lists of different lengths"),
    _UNFILLED: (ShapeError, "a number of values that is not the product of the sizes"),
}


def column_parts(array: pa.Array) -> ColumnConversion:
    """The rows of a column as stored, one part for each shape among them.

    Numbers in lists of one length, without nulls, share the column's memory. Strings and
    bytes become objects of bytes. A row that is null, holds a null, or whose nested lists
    are no rectangle is an error; its message says only what was received.

    Raises:
      FeatureError: no tensor holds the column's values.
    """
    if is_image(array.type):
        return _gather(_image_spans(array))
    plain = _rectangle(array)
    if plain is not None:
        return ColumnConversion([Part(None, plain)], [])
    return _gather(_list_spans(array))


class _Axes(NamedTuple):
    """Dimensions found so far, and the order in which a stored tensor's are meant."""

    sizes: tuple[int, ...] = ()
    order: tuple[int, ...] | None = None

    def with_tensor(self, kind: pa.FixedShapeTensorType) -> _Axes:
        outer = len(self.sizes)
        order = kind.permutation
        if order is not None:
            order = (*range(outer), *(outer + axis for axis in order))
        return _Axes((*self.sizes, *kind.shape), order)


def _ordered(values: np.ndarray, order: tuple[int, ...] | None) -> np.ndarray:
    if order is None:
        return values
    return np.ascontiguousarray(values.transpose(0, *(axis + 1 for axis in order)))


def without_encodings(array: pa.Array) -> pa.Array:
    """The array without encodings: dictionaries, runs, views of lists, extension types."""
    while True:
        kind = array.type
        if isinstance(kind, pa.BaseExtensionType):
            array = array.storage
        elif pat.is_dictionary(kind):
            array = array.dictionary_decode()
        elif pat.is_run_end_encoded(kind):
            array = pc.run_end_decode(array)
        elif is_view(kind):
            array = _without_view(array)
        else:
            return array


def _without_view(array: pa.Array) -> pa.Array:
    """A list view as a list; pyarrow's own cast gives invalid arrays for some of them."""
    nulls = array.is_null()
    sizes = np.where(nulls.to_numpy(zero_copy_only=False), 0, array.sizes.to_numpy())
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), array.flatten(), mask=nulls if array.null_count else None
    )


def _rectangle(array: pa.Array) -> np.ndarray | None:
    """All rows as one array where none has a null and all have one shape; else None."""
    rows = len(array)
    axes = _Axes()
    while True:
        kind = array.type
        array = without_encodings(array)
        if array.null_count:
            return None
        if pat.is_fixed_size_list(array.type):
            size = array.type.list_size
            if isinstance(kind, pa.FixedShapeTensorType):
                axes = axes.with_tensor(kind)
            else:
                axes = _Axes((*axes.sizes, size))
            array = array.values.slice(array.offset * size, len(array) * size)
        elif is_list(array.type):
            offsets = array.offsets.to_numpy()
            size = int(offsets[1] - offsets[0]) if len(array) else 0
            if not (np.diff(offsets) == size).all():
                return None
            axes = _Axes((*axes.sizes, size))
            array = array.values.slice(int(offsets[0]), len(array) * size)
        else:
            return _ordered(_values(array).reshape(rows, *axes.sizes), axes.order)


def _values(leaf: pa.Array) -> np.ndarray:
    """A flat array of values; what stands in for a null is never read."""
    if is_number(leaf.type):
        if leaf.null_count:
            leaf = leaf.fill_null(pa.scalar(0).cast(leaf.type))
        return leaf.to_numpy(zero_copy_only=not pat.is_boolean(leaf.type))
    if is_text(leaf.type):
        text = leaf.cast(pa.large_binary())
        filled = text.fill_null(b"") if text.null_count else text
        return filled.to_numpy(zero_copy_only=False)
    raise FeatureError(
        f"expected booleans, numbers, strings or bytes. Received: {leaf.type}. "
        "Cast the column where it is written, or feed another."
    )


class _Spans(NamedTuple):
    """Where each row lies in a flat leaf array, and its shape.

    Attributes:
      leaf: all values.
      starts: index of each row's first value.
      shapes: the distinct shapes.
      shape_of: for each row its position in `shapes`.
      faults: for each row 0 or a key of `_FAULTS`.
      order: axes of a row in the order in which they are meant; None as stored.
    """

    leaf: pa.Array
    starts: np.ndarray
    shapes: list[Shape]
    shape_of: np.ndarray
    faults: np.ndarray
    order: tuple[int, ...] | None = None


def _list_spans(array: pa.Array) -> _Spans:
    rows = len(array)
    faults = np.zeros(rows, np.uint8)
    starts, stops = np.arange(rows), np.arange(1, rows + 1)
    sizes: list[np.ndarray] = []
    order = None
    while True:
        kind = array.type
        array = without_encodings(array)
        _mark_nulls(array, starts, stops, faults)
        if pat.is_fixed_size_list(array.type):
            size = array.type.list_size
            first, last = array.offset * size, (array.offset + len(array)) * size
            axes = _Axes((size,))
            if isinstance(kind, pa.FixedShapeTensorType):
                axes = _Axes((0,) * len(sizes)).with_tensor(kind)
                axes, order = _Axes(axes.sizes[len(sizes) :]), axes.order
            sizes.extend(np.full(rows, axis_size) for axis_size in axes.sizes)
            starts, stops = starts * size, stops * size
        elif is_list(array.type):
            offsets = array.offsets.to_numpy().astype(np.int64)
            first, last = int(offsets[0]), int(offsets[-1])
            sizes.append(_one_length(np.diff(offsets), starts, stops, faults))
            starts, stops = offsets[starts] - first, offsets[stops] - first
        else:
            break
        array = array.values.slice(first, last - first)
    if not sizes:
        return _Spans(array, starts, [()], np.zeros(rows, np.intp), faults)
    shapes, shape_of = _distinct(sizes)
    return _Spans(array, starts, shapes, shape_of, faults, order)


def _distinct(sizes: list[np.ndarray]) -> tuple[list[Shape], np.ndarray]:
    """The shapes that occur, and for each row which of them it has."""
    codes = np.zeros(len(sizes[0]), np.intp)
    firsts = np.zeros(1, np.intp)
    for axis in sizes:
        if (axis == axis[0]).all():
            continue
        _, axis_codes = distinct(axis)
        firsts, codes = distinct(codes * (int(axis_codes.max()) + 1) + axis_codes)
    return [tuple(int(axis[row]) for axis in sizes) for row in firsts], codes


def _mark_nulls(array: pa.Array, starts: np.ndarray, stops: np.ndarray, faults: np.ndarray) -> None:
    if not array.null_count:
        return
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    before = np.concatenate([[0], np.cumsum(nulls)])
    faults[before[stops] > before[starts]] = _NULL


def _one_length(
    lengths: np.ndarray, starts: np.ndarray, stops: np.ndarray, faults: np.ndarray
) -> np.ndarray:
    """The length that all lists of a row have; rows with several are marked."""
    filled = stops > starts
    found = np.zeros(len(starts), np.int64)
    found[filled] = lengths[starts[filled]]
    changes = np.concatenate([[0], np.cumsum(lengths[1:] != lengths[:-1])])
    ragged = np.zeros(len(starts), bool)
    ragged[filled] = changes[stops[filled] - 1] > changes[starts[filled]]
    faults[ragged & (faults == 0)] = _RAGGED
    return found


def _image_spans(array: pa.Array) -> _Spans:
    rows = len(array)
    data = array.field("data")
    faults = np.zeros(rows, np.uint8)
    for level in (array, data):
        _mark_nulls(level, np.arange(rows), np.arange(1, rows + 1), faults)
    offsets = data.offsets.to_numpy().astype(np.int64)
    leaf = data.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    offsets -= offsets[0]
    _mark_nulls(leaf, offsets[:-1], offsets[1:], faults)
    lengths = np.diff(offsets)
    shapes: dict[Shape, int] = {}
    shape_of = np.zeros(rows, np.intp)
    # A loop is right here: a row is an image of kilobytes.
    for row, sizes in enumerate(array.field("shape").to_pylist()):
        if faults[row]:
            continue
        if sizes is None or None in sizes:
            faults[row] = _NULL
        elif min(sizes, default=0) < 0 or math.prod(sizes) != lengths[row]:
            faults[row] = _UNFILLED
        else:
            shape_of[row] = shapes.setdefault(tuple(sizes), len(shapes))
    return _Spans(leaf, offsets[:-1], list(shapes), shape_of, faults)


def _gather(spans: _Spans) -> ColumnConversion:
    values = None
    parts = []
    for index, shape in enumerate(spans.shapes):
        rows = np.flatnonzero((spans.shape_of == index) & (spans.faults == 0))
        if not len(rows):
            continue
        values = _values(spans.leaf) if values is None else values
        picked = _windows(values, spans.starts[rows], math.prod(shape))
        whole = len(rows) == len(spans.starts)
        shaped = _ordered(picked.reshape(len(rows), *shape), spans.order)
        parts.append(Part(None if whole else rows, shaped))
    return ColumnConversion(
        parts, [_error(row, spans) for row in np.flatnonzero(spans.faults).tolist()]
    )


def _windows(values: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """`size` values from each start, `[rows, size]`; a view where the rows lie end to end."""
    if size == 0:
        return np.empty((len(starts), 0), values.dtype)
    if (np.diff(starts) == size).all():
        return values[starts[0] : starts[0] + len(starts) * size].reshape(len(starts), size)
    return np.lib.stride_tricks.sliding_window_view(values, size)[starts]


def _error(row: int, spans: _Spans) -> RowError:
    error, received = _FAULTS[int(spans.faults[row])]
    return RowError(row, error.__name__, received)
