"""Values of Arrow as plain ones of Python, whatever is in them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def plain_value(scalar: pa.Scalar) -> Any:
    """A value that its column's type takes again.

    What Python cannot hold is, at any depth, in the form that the column stores: times as
    whole numbers, and strings that are no UTF-8 as bytes.
    """
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return _as_stored(scalar)


def _as_stored(scalar: pa.Scalar) -> Any:
    if isinstance(scalar, pa.StringScalar):
        return scalar.as_buffer().to_pybytes()
    if isinstance(scalar, pa.StructScalar):
        return {name: plain_value(value) for name, value in scalar.items()}
    if isinstance(scalar, pa.MapScalar):
        return [(plain_value(item["key"]), plain_value(item["value"])) for item in scalar.values]
    if isinstance(scalar, pa.ListScalar):
        return [plain_value(item) for item in scalar.values]
    if isinstance(scalar, (pa.DictionaryScalar, pa.ExtensionScalar)):
        return plain_value(scalar.value)
    return scalar.value
