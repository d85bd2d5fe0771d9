"""Outputs from GPUs to the host, while the next batch is on its way there."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import tensorflow as tf

Tensors = dict[str, "tf.Tensor"]


class OnHost(NamedTuple):
    """Outputs of each replica on the host, and when they were there.

    Attributes:
      tensors: by name, of one replica after another.
      at_seconds: on the clock of ``time.perf_counter``.
    """

    tensors: list[Tensors]
    at_seconds: float


class ReadBack:
    """Asks for the outputs of each batch at once, and waits for them in a thread of its own.

    A copy from a GPU waits for whatever the GPU had been given when the copy was asked for, and
    ``tensor.numpy()`` asks when it is called. After the next batch's launch it would wait for
    that one too, and a second output for the first one's copy: the GPU then stands still while
    the host cuts, joins and sends. So all outputs of all replicas are asked for in one call,
    before the next batch is launched.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mirrorbeam-read-back")

    def start(self, outputs: list[Tensors]) -> Future[OnHost]:
        """Asks for a batch's outputs; returns as soon as that is under way.

        Args:
          outputs: of one replica after another, which may not be computed yet.
        """
        asking = threading.Event()
        future = self._pool.submit(_read, outputs, asking)
        asking.wait()
        return future

    def close(self) -> None:
        """Ends the thread, once it has read what it was given."""
        self._pool.shutdown()


def _read(outputs: list[Tensors], asking: threading.Event) -> OnHost:
    try:
        tensors = [tensor for replica in outputs for tensor in replica.values()]
        copy = _copier(tuple(tensor.dtype for tensor in tensors))
    finally:
        # From here to the call nothing lets another thread run.
        asking.set()
    copied = iter(copy(*tensors))
    read = [dict(zip(replica, copied, strict=False)) for replica in outputs]
    return OnHost(read, time.perf_counter())


@functools.lru_cache(maxsize=64)
def _copier(dtypes: Sequence[Any]) -> Any:
    """A function that gives its arguments' values on the host."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(None, dtype) for dtype in dtypes], autograph=False)
    def copy(*tensors: tf.Tensor) -> list[tf.Tensor]:
        with tf.device("/CPU:0"):
            return [tf.identity(tensor) for tensor in tensors]

    return copy.get_concrete_function()
