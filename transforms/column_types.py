"""What an Arrow column holds for a model: a dtype and a row shape, told by its type."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from transforms.shapes import FreeShape, Shape

# Field metadata: how many values each row had where only the data could tell.
OBSERVED_LENGTH = b"mirrorbeam.length"


class ColumnSpec(NamedTuple):
    """What a column holds, as far as its type tells.

    Attributes:
      name: the column's.
      dtype: TensorFlow's name for its values; None where no tensor holds them.
      shape: dimensions of a row, None for a free one; None in place of the tuple where the
        rank is free.
      text: the type as messages say it.
    """

    name: str
    dtype: str | None
    shape: FreeShape | None
    text: str


def column_spec(field: pa.Field) -> ColumnSpec:
    """What a column of a schema holds."""
    if is_image(field.type):
        dtype = leaf_dtype(field.type.field("data").type.value_type)
        return ColumnSpec(field.name, dtype, None, f"tensor<{dtype}>[?, …]")
    shape: list[int | None] = []
    kind = field.type
    while (inner := _peel(kind)) is not None:
        kind, sizes = inner
        shape.extend(sizes)
    observed = (field.metadata or {}).get(OBSERVED_LENGTH)
    if observed is not None and shape == [None]:
        shape = [int(observed)]
    if not shape:
        return ColumnSpec(field.name, leaf_dtype(kind), (), str(kind))
    sizes_text = ",".join("?" if size is None else str(size) for size in shape)
    return ColumnSpec(field.name, leaf_dtype(kind), tuple(shape), f"list<{kind}>[{sizes_text}]")


def is_image(kind: pa.DataType) -> bool:
    """Whether it is a tensor of a free shape: a struct of flat `data` and its `shape`."""
    return (
        pat.is_struct(kind)
        and {field.name for field in kind} == {"data", "shape"}
        and is_list(kind.field("data").type)
        and is_list(kind.field("shape").type)
        and pat.is_integer(kind.field("shape").type.value_type)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether it is a list with offsets."""
    return pat.is_list(kind) or pat.is_large_list(kind)


def is_view(kind: pa.DataType) -> bool:
    """Whether it is a list with offsets and sizes, in any order."""
    return pat.is_list_view(kind) or pat.is_large_list_view(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether it is an integer, a float or a boolean."""
    return pat.is_floating(kind) or pat.is_integer(kind) or pat.is_boolean(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether it is a string or bytes, in any of Arrow's layouts."""
    return (
        pat.is_string(kind)
        or pat.is_binary(kind)
        or pat.is_large_string(kind)
        or pat.is_large_binary(kind)
        or pat.is_string_view(kind)
        or pat.is_binary_view(kind)
        or pat.is_fixed_size_binary(kind)
    )


def leaf_dtype(kind: pa.DataType) -> str | None:
    """TensorFlow's dtype name of a type that is no list; None where it has none."""
    if is_number(kind):
        return np.dtype(kind.to_pandas_dtype()).name
    return "string" if is_text(kind) else None


def logical_shape(kind: pa.FixedShapeTensorType) -> Shape:
    """A tensor type's dimensions in the order in which they are meant."""
    order = kind.permutation
    return tuple(kind.shape if order is None else (kind.shape[axis] for axis in order))


def _peel(kind: pa.DataType) -> tuple[pa.DataType, tuple[int | None, ...]] | None:
    """The type without its outermost layer, and the dimensions that the layer adds."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return kind.value_type, logical_shape(kind)
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type, ()
    if pat.is_fixed_size_list(kind):
        return kind.value_type, (kind.list_size,)
    if pat.is_dictionary(kind) or pat.is_run_end_encoded(kind):
        return kind.value_type, ()
    if is_list(kind) or is_view(kind):
        return kind.value_type, (None,)
    return None
