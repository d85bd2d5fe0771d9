"""Arrays as TensorFlow's tensors and back, without a copy where the memory allows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

# TensorFlow's kernels end the process on memory that does not start at a multiple of this.
ALIGNMENT_BYTES = 64
# Below it a copy costs less than passing the memory over.
_SHARED_BYTES = 16 << 10
# Other types are not of both NumPy's and TensorFlow's own, or hold references.
_SHARED_TYPES = frozenset(
    {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
    | {"bool", "float16", "float32", "float64"}
)


def can_share(values: np.ndarray) -> bool:
    """Whether TensorFlow can read the array where it lies."""
    return (
        values.nbytes >= _SHARED_BYTES
        and values.dtype.name in _SHARED_TYPES
        and values.dtype.isnative
        and values.flags.c_contiguous
        and values.ctypes.data % ALIGNMENT_BYTES == 0
    )


def to_tensor(values: np.ndarray, *, share: bool = True) -> tf.Tensor:
    """A tensor of the array on the host.

    A shared array must not change while the tensor lives, and lives as long as that. It goes
    over by DLPack, since ``tf.constant`` always copies.

    Args:
      values: any array; strings as objects.
      share: whether the memory may be shared. What a model writes into a variable may be
        changed in place later, so its inputs may not.
    """
    import tensorflow as tf

    if not share or not can_share(values):
        return tf.constant(values)
    if not values.flags.writeable:
        # Arrow's memory is read-only, which DLPack cannot say; no kernel writes to its inputs.
        values = np.asarray(_Unlocked(values))
    return tf.experimental.dlpack.from_dlpack(values.__dlpack__())


def to_array(tensor: tf.Tensor) -> np.ndarray:
    """The tensor's values; from the host's memory uncopied and read-only.

    Waits for a tensor that is under way on a device.
    """
    if tensor.dtype.name in _SHARED_TYPES and "CPU" in tensor.device:
        return np.asarray(memoryview(tensor))
    return tensor.numpy()


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array, not filled in, that TensorFlow can share."""
    if dtype.name not in _SHARED_TYPES:
        return np.empty(shape, dtype)
    size_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(size_bytes + ALIGNMENT_BYTES, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[start : start + size_bytes].view(dtype).reshape(shape)


class _Unlocked:
    """An array's memory without its read-only flag."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        interface: dict[str, Any] = dict(values.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
