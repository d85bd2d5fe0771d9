"""Which column feeds which input of a model, decided before a row is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from transforms.casting import FLOATS, cast_refusal
from transforms.column_types import ColumnSpec, column_spec
from transforms.conversion import FeatureError
from transforms.engine.signature import TensorField
from transforms.shapes import can_fit

# What mirrorbeam itself writes beside the input's columns.
RESERVED_COLUMNS = ("_source", "_row", "_stage", "_error", "_message")

_NAMED_COLUMNS = 20


class Feed(NamedTuple):
    """One column on its way into a model.

    Attributes:
      column: where the values come from.
      name: the model input, or the preprocessing function's parameter.
      field: the dtype and shape they are brought to; None leaves them as they are stored.
    """

    column: str
    name: str
    field: TensorField | None


def match_columns(
    schema: pa.Schema, inputs: Sequence[TensorField], input_map: Mapping[str, str] | None = None
) -> tuple[Feed, ...]:
    """Finds a column for every input of a model.

    By name, or by `input_map`; a single input whose name is no column takes the only
    column that fits it. Columns that mirrorbeam adds to outputs are never fed.

    Args:
      schema: the columns there are.
      inputs: what the model takes.
      input_map: column by model input.

    Raises:
      FeatureError: an input has no column, or one whose type cannot fit.
    """
    return match_specs([column_spec(field) for field in schema], inputs, input_map)


def match_specs(
    columns: Sequence[ColumnSpec],
    inputs: Sequence[TensorField],
    input_map: Mapping[str, str] | None = None,
) -> tuple[Feed, ...]:
    """`match_columns` for columns that are described without a schema."""
    input_map = input_map or {}
    unknown = sorted(set(input_map) - {field.name for field in inputs})
    if unknown:
        names = ", ".join(field.name for field in inputs)
        raise FeatureError(
            f"expected a map of the model's inputs {names}. Received: '{unknown[0]}'. "
            f"Pass --input_map {inputs[0].name if inputs else 'INPUT'}=COLUMN."
        )
    usable = [column for column in columns if column.name not in RESERVED_COLUMNS]
    if len(inputs) == 1 and not input_map and inputs[0].name not in _names(usable):
        return (_feed(_only_fitting(usable, inputs[0]), inputs[0]),)
    return tuple(
        _feed(_named(usable, input_map.get(field.name, field.name), field), field)
        for field in inputs
    )


def feed_columns(
    schema: pa.Schema, names: Sequence[str], fields: Mapping[str, TensorField] | None = None
) -> tuple[Feed, ...]:
    """Feeds the columns that a preprocessing function names, as they are stored.

    Args:
      schema: the columns there are.
      names: the function's parameters.
      fields: dtype and shape for some of them; the others keep their column's own.

    Raises:
      FeatureError: a column is missing, or no tensor holds its values.
    """
    specs = [column_spec(field) for field in schema if field.name not in RESERVED_COLUMNS]
    return tuple(
        _feed(_named(specs, name, field), field)
        if (field := (fields or {}).get(name)) is not None
        else Feed(_named(specs, name, None).name, name, None)
        for name in names
    )


def check_field(stored: TensorField, field: TensorField) -> None:
    """Whether a column that is said to be of a dtype and shape can feed a model's input.

    Raises:
      FeatureError: it cannot.
    """
    _feed(ColumnSpec(stored.name, stored.dtype, stored.shape, str(stored)), field)


def natural_field(field: pa.Field) -> TensorField:
    """A column's own dtype and row shape.

    Raises:
      FeatureError: no tensor holds the column's values.
    """
    spec = column_spec(field)
    if spec.dtype is None:
        raise FeatureError(_unfeedable(spec))
    return TensorField(spec.name, spec.dtype, spec.shape)


def keep_bytes_narrow(feeds: Sequence[Feed], schema: pa.Schema) -> tuple[Feed, ...]:
    """Feeds `uint8` columns as they are to inputs of floats, to be cast on the device.

    Every float dtype holds them exactly, and they cross to the device in a quarter of the
    bytes.
    """
    narrow = {field.name for field in schema if column_spec(field).dtype == "uint8"}
    return tuple(
        feed._replace(field=dataclasses.replace(feed.field, dtype="uint8"))
        if feed.column in narrow and feed.field is not None and feed.field.dtype in FLOATS
        else feed
        for feed in feeds
    )


def _names(columns: Sequence[ColumnSpec]) -> list[str]:
    return [column.name for column in columns]


def _feed(column: ColumnSpec, field: TensorField) -> Feed:
    reason = _misfit(column, field)
    if reason is not None:
        raise FeatureError(
            f"expected column '{column.name}' as {field}. Received: {column.text}{reason}. "
            f"Pass --input_map {field.name}=COLUMN to feed another, "
            "or store it in the expected dtype and shape."
        )
    return Feed(column.name, field.name, field)


def _misfit(column: ColumnSpec, field: TensorField) -> str | None:
    if column.dtype is None:
        return ", which no tensor holds"
    refusal = cast_refusal(column.dtype, field.dtype)
    if refusal is not None:
        return f" ({refusal})"
    return None if can_fit(column.shape, field.shape) else ""


def _named(columns: Sequence[ColumnSpec], name: str, field: TensorField | None) -> ColumnSpec:
    found = [column for column in columns if column.name == name]
    if len(found) == 1:
        if field is None and found[0].dtype is None:
            raise FeatureError(_unfeedable(found[0]))
        return found[0]
    received = f"{len(found)} columns of that name" if found else _listed(columns)
    wanted = f"column '{name}'" + (f" as {field}" if field is not None else "")
    advice = f" Pass --input_map {field.name}=COLUMN." if field is not None else ""
    raise FeatureError(f"expected {wanted}. Received: {received}.{advice}")


def _only_fitting(columns: Sequence[ColumnSpec], field: TensorField) -> ColumnSpec:
    fitting = [column for column in columns if _misfit(column, field) is None]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting and len(columns) == 1:
        return columns[0]
    received = f"{len(fitting)} that fit: {_listed(fitting)}" if fitting else _listed(columns)
    raise FeatureError(
        f"expected column '{field.name}' as {field}, or one other column that fits. "
        f"Received: {received}. Pass --input_map {field.name}=COLUMN."
    )


def _listed(columns: Sequence[ColumnSpec]) -> str:
    if not columns:
        return "no columns"
    shown = ", ".join(f"{column.name}: {column.text}" for column in columns[:_NAMED_COLUMNS])
    more = len(columns) - _NAMED_COLUMNS
    return shown + (f" and {more} more" if more > 0 else "")


def _unfeedable(column: ColumnSpec) -> str:
    return (
        f"expected column '{column.name}' as booleans, numbers, strings or bytes. "
        f"Received: {column.text}. Cast the column where it is written, or feed another."
    )
