"""Types of values that are stored as text, and the values themselves."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.casting import Misfit, cast_column
from transforms.casting import FLOATS
from transforms.engine.signature import TensorField
from transforms.engine.stage_times import DECODE, STAGE_TIMES

# Field metadata: not all values that were seen have the column's type.
MIXED = b"mirrorbeam.mixed"

TYPES = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
}

# What stands for no value in columns of numbers and booleans; NaN is a float.
_NULLS = ("", "NA", "N/A", "n/a", "#N/A", "NULL", "Null", "null", "None")

# More digits, or zeros in front, are names rather than numbers.
_INTEGER = r"^[+-]?(0|[1-9][0-9]{0,17})$"
_FLOAT = (
    r"^[+-]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
    r"|^[+-]?[0-9]+[eE][+-]?[0-9]+$|^[+-]?(?i:nan|inf|infinity)$"
)
_BOOL = r"^(?i:true|false)$"


def infer_field(name: str, texts: pa.Array) -> pa.Field:
    """A column's type from some of its values: that of more than half of them.

    Integers beside floats are floats; what has no such type is a string.

    Args:
      name: the column's.
      texts: strings.
    """
    values = _filled(pc.utf8_trim_whitespace(texts)).drop_null()
    integers, floats, booleans = (
        pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0
        for pattern in (_INTEGER, _FLOAT, _BOOL)
    )
    majority = len(values) / 2
    if integers + floats > majority:
        kind, fitting = pa.float64() if floats else pa.int64(), integers + floats
    elif booleans > majority:
        kind, fitting = pa.bool_(), booleans
    else:
        kind, fitting = pa.string(), len(values)
    return pa.field(name, kind, metadata={MIXED: "1"} if fitting < len(values) else None)


def as_fed(planned: pa.Field, fed: TensorField | None) -> pa.Field:
    """An inferred column of integers as floats where floats are what it feeds.

    The values seen first had no fraction; others may.
    """
    if fed is None or fed.dtype not in FLOATS:
        return planned
    return planned.with_type(_with_floats(planned.type))


def _with_floats(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.float64()
    return pa.list_(_with_floats(kind.value_type)) if pa.types.is_list(kind) else kind


@STAGE_TIMES.timed(DECODE)
def convert(texts: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[Misfit]]:
    """Strings as values of a type, null where there is none or it is of another type.

    Args:
      texts: strings.
      kind: one of `TYPES`.

    Returns:
      The values, and the rows that have one of another type.
    """
    if kind == pa.string():
        return texts, []
    try:
        return texts.cast(kind), []
    except pa.ArrowInvalid:
        plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"^\+", "")
        return cast_column(_filled(plain), kind)


def _filled(texts: pa.Array) -> pa.Array:
    """The strings, null where they stand for no value."""
    nulls = pa.array(_NULLS, texts.type)
    return pc.if_else(pc.is_in(texts, value_set=nulls), pa.scalar(None, texts.type), texts)
