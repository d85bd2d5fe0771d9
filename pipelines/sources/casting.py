"""Columns brought to their planned types, value by value where a whole column does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.types as pat


class Misfit(NamedTuple):
    """A row whose value is not of the planned type."""

    row: int
    message: str


def cast_column(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[Misfit]]:
    """A column in another type.

    Args:
      column: values of any type that Arrow can cast.
      kind: the type wanted. A cast that would change a value is refused.

    Returns:
      A column of as many rows, null where a value does not fit, and these rows in order.
    """
    return _piecewise(column, kind, lambda piece: piece.cast(kind))


def _piecewise(
    column: pa.Array, kind: pa.DataType, convert: Callable[[pa.Array], pa.Array]
) -> tuple[pa.Array, list[Misfit]]:
    pieces: list[pa.Array] = []
    misfits: list[Misfit] = []
    ranges = [(0, len(column))]
    while ranges:
        start, stop = ranges.pop()
        try:
            pieces.append(convert(column.slice(start, stop - start)))
        except pa.ArrowInvalid as error:
            if stop - start > 1:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]
                continue
            pieces.append(pa.nulls(1, kind))
            misfits.append(Misfit(start, str(error)))
    return pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces), misfits


def holds_text(kind: pa.DataType) -> bool:
    """Whether there are strings in a type, at any depth but in dictionaries within others."""
    if isinstance(kind, pa.BaseExtensionType):
        return holds_text(kind.storage_type)
    if pat.is_dictionary(kind):
        return holds_text(kind.value_type)
    if pat.is_string(kind) or pat.is_large_string(kind):
        return True
    parts = [kind.field(at).type for at in range(kind.num_fields)]
    return any(holds_text(part) for part in parts if not pat.is_dictionary(part))


def valid_text(column: pa.Array) -> tuple[pa.Array, list[Misfit]]:
    """A column without the values that hold strings which are no UTF-8, and their rows."""
    kind = column.type
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        if pat.is_dictionary(kind):
            return _valid_dictionary(column)
        if pat.is_string(kind) or pat.is_large_string(kind):
            as_bytes = pa.large_binary() if pat.is_large_string(kind) else pa.binary()
            return cast_column(column.cast(as_bytes), kind)
        return _piecewise(column, kind, _validated)
    return column, []


def _validated(piece: pa.Array) -> pa.Array:
    # Of a slice Arrow would look at the values of all rows.
    taken = piece.take(pa.array(range(len(piece)), pa.int64()))
    taken.validate(full=True)
    return taken


def _valid_dictionary(column: pa.DictionaryArray) -> tuple[pa.Array, list[Misfit]]:
    words, bad = valid_text(column.dictionary)
    messages = {misfit.row: misfit.message for misfit in bad}
    codes = column.indices.to_pylist()
    misfits = [Misfit(row, messages[code]) for row, code in enumerate(codes) if code in messages]
    indices = pa.array(
        [None if code in messages else code for code in codes], column.indices.type)
    return pa.DictionaryArray.from_arrays(indices, words, ordered=column.type.ordered), misfits


def is_compatible(stored: pa.DataType, planned: pa.DataType) -> bool:
    """Whether values of one type may stand for values of another, each with its own check.

    Widths and layouts may differ, and integers may stand for floats; floats never stand for
    integers, nor anything for strings.
    """
    if stored == planned:
        return True
    if pat.is_dictionary(stored) or pat.is_run_end_encoded(stored):
        return is_compatible(stored.value_type, planned)
    if pat.is_dictionary(planned) or pat.is_run_end_encoded(planned):
        return is_compatible(stored, planned.value_type)
    if isinstance(stored, pa.BaseExtensionType) != isinstance(planned, pa.BaseExtensionType):
        return is_compatible(*(getattr(kind, "storage_type", kind) for kind in (stored, planned)))
    if _is_list(stored) and _is_list(planned):
        return is_compatible(stored.value_type, planned.value_type)
    if pat.is_map(stored) and pat.is_map(planned):
        return is_compatible(stored.key_type, planned.key_type) and is_compatible(
            stored.item_type, planned.item_type)
    if pat.is_struct(stored) and pat.is_struct(planned):
        return [field.name for field in stored] == [field.name for field in planned] and all(
            is_compatible(one.type, other.type) for one, other in zip(stored, planned, strict=True))
    if pat.is_integer(stored):
        return bool(pat.is_integer(planned) or pat.is_floating(planned))
    if pat.is_floating(stored):
        return bool(pat.is_floating(planned))
    if pat.is_timestamp(stored) and pat.is_timestamp(planned):
        return bool(stored.tz == planned.tz)
    if pat.is_decimal(stored):
        return bool(pat.is_decimal(planned))
    return bool(pat.is_null(stored) or (_is_text(stored) and _is_text(planned)))


def without_views(kind: pa.DataType) -> pa.DataType:
    """The type with plain strings for string views, at any depth: Arrow cannot filter views."""
    if pat.is_string_view(kind):
        return pa.large_string()
    if pat.is_binary_view(kind):
        return pa.large_binary()
    if pat.is_struct(kind):
        return pa.struct([_viewless(field) for field in kind])
    if pat.is_map(kind):
        return pa.map_(without_views(kind.key_type), _viewless(kind.item_field))
    if pat.is_large_list(kind):
        return pa.large_list(_viewless(kind.value_field))
    if pat.is_list(kind):
        return pa.list_(_viewless(kind.value_field))
    if pat.is_fixed_size_list(kind):
        return pa.list_(_viewless(kind.value_field), kind.list_size)
    return kind


def _viewless(field: pa.Field) -> pa.Field:
    return field.with_type(without_views(field.type))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pat.is_string(kind)
        or pat.is_large_string(kind)
        or pat.is_binary(kind)
        or pat.is_large_binary(kind)
        or pat.is_string_view(kind)
        or pat.is_binary_view(kind)
    )
