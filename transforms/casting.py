"""Which stored dtypes a model's dtypes take, and which values of them."""

from __future__ import annotations

import numpy as np

from transforms.engine.arrays import dtype_name, numpy_dtype

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

# Every integer of at most so many bits is exact in the float.
_EXACT_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}


def cast_refusal(source: str, target: str) -> str | None:
    """Why no value of one dtype is fed to another; None where at least some are.

    Floats become any float; integers and booleans become any number that holds the value
    exactly; strings and bytes stay strings. Both names are TensorFlow's.
    """
    if source == target or (source in FLOATS and target in FLOATS):
        return None
    if source in INTEGERS and (target in FLOATS or target in INTEGERS or target == "bool"):
        return None
    if source == "bool" and (target in FLOATS or target in INTEGERS):
        return None
    if source in FLOATS and (target in INTEGERS or target == "bool"):
        return f"{source} is not cast to {target}: it would drop fractions"
    return f"{source} is not cast to {target}"


def cast(values: np.ndarray, target: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The values in another dtype, and a mask of those that it cannot hold.

    Args:
      values: an array of any shape whose dtype `cast_refusal` does not refuse.
      target: TensorFlow's name of the wanted dtype.

    Returns:
      The cast array (the same one where nothing has to change) and a boolean array of its
      shape, or None where every value fits: integers must be exact, finite floats must
      stay finite. Floats are rounded to nearest.
    """
    dtype = numpy_dtype(target)
    if values.dtype == dtype:
        return values, None
    source = dtype_name(values)
    if source in (target, "bool"):
        return values.astype(dtype), None
    if source in FLOATS:
        return _round_floats(values, dtype)
    if target in FLOATS:
        return _integers_to_floats(values, target)
    return _narrow_integers(values, target)


def _round_floats(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    infinite = np.isinf(rounded)
    if not infinite.any():
        return rounded, None
    overflown = infinite & ~np.isinf(values)
    return rounded, overflown if overflown.any() else None


def _integers_to_floats(values: np.ndarray, target: str) -> tuple[np.ndarray, np.ndarray | None]:
    with np.errstate(over="ignore"):
        floats = values.astype(numpy_dtype(target))
    info = np.iinfo(values.dtype)
    exact_bits = _EXACT_BITS[target]
    if info.bits - (info.min < 0) <= exact_bits or not values.size:
        return floats, None
    if values.max() <= 1 << exact_bits and values.min() >= -(1 << exact_bits):
        return floats, None
    wide = floats.astype(np.float64)
    # The largest integers round up to one past the range, where casting back is undefined.
    in_range = (wide >= float(info.min)) & (wide < float(info.max + 1))
    with np.errstate(invalid="ignore"):
        inexact = ~in_range | (wide.astype(values.dtype) != values)
    return floats, inexact if inexact.any() else None


def _narrow_integers(values: np.ndarray, target: str) -> tuple[np.ndarray, np.ndarray | None]:
    low, high = (0, 1) if target == "bool" else _integer_range(target)
    cast_values = values.astype(numpy_dtype(target))
    if not values.size or (values.min() >= low and values.max() <= high):
        return cast_values, None
    return cast_values, (values < low) | (values > high)


def _integer_range(name: str) -> tuple[int, int]:
    info = np.iinfo(name)
    return int(info.min), int(info.max)
