"""How many bytes a replica may take on its device, with room left for whoever else is there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transforms.engine.gpu_memory import free_memory_bytes, total_memory_bytes
from transforms.engine.host_memory import free_memory_bytes as free_host_memory_bytes
from transforms.engine.memory import highest_bytes
from transforms.engine.replicas import Replicas, memory_grows

_LOG = logging.getLogger(__name__)

# On a CPU the rest is for reading, decoding and writing.
_CPU_SHARE = 0.5
# On a GPU for CUDA, the work space of its libraries, and for other processes that grow.
_GPU_RESERVE_SHARE = 0.05
_LEAST_GPU_RESERVE_BYTES = 512 << 20


def limit_bytes(replicas: Replicas, *, root: Path = Path("/")) -> int:
    """The most that a replica may take, what it holds already included.

    It is what a peak of `PeakMeter` has to stay within. Free memory changes: this is how it
    stands now.

    Args:
      replicas: whose devices are meant; the tightest of them counts.
      root: the folder that holds the host's `proc` and `sys`.

    Raises:
      OSError: the NVIDIA driver does not tell what a GPU has.
    """
    if replicas.kind == "CPU":
        held = _held_bytes(replicas.devices[0])
        return cpu_limit_bytes(free_host_memory_bytes(root), held, replicas.in_all)
    allocators = _allocator_limits()
    places = _places()
    limits = []
    for device in replicas.devices:
        ordinal, sharers = places[int(device.rsplit(":", 1)[-1])]
        total = total_memory_bytes(ordinal)
        # An allocator without a limit of its own says 0.
        allocator = allocators[_short(device)] or total
        if not memory_grows():
            # It is all TensorFlow's already: what is free on the GPU is beside it.
            limits.append(allocator)
            continue
        reserve = max(_LEAST_GPU_RESERVE_BYTES, int(total * _GPU_RESERVE_SHARE))
        try:
            free = free_memory_bytes(ordinal)
        except OSError as error:
            # Containers without the utility capability, and some virtual GPUs.
            _LOG.warning("what others hold of %s is not known: %s", device, error)
            limits.append(allocator)
            continue
        limits.append(gpu_limit_bytes(allocator, free, highest_bytes(device), sharers, reserve))
    return min(limits)


def cpu_limit_bytes(free_bytes: int, held_bytes: int, replicas: int) -> int:
    """A replica's part of half the memory that is free or the process's own.

    Args:
      free_bytes: what the process can still get.
      held_bytes: what its tensors hold.
      replicas: who share it.
    """
    return int((free_bytes + held_bytes) * _CPU_SHARE) // replicas


def gpu_limit_bytes(
    allocator_bytes: int, free_bytes: int, held_bytes: int, sharers: int, reserve_bytes: int
) -> int:
    """What a replica may take of its GPU.

    Args:
      allocator_bytes: TensorFlow never takes more for the logical device.
      free_bytes: on the whole GPU, not held by any process.
      held_bytes: taken from the GPU for the logical device already.
      sharers: logical devices that the GPU is cut into.
      reserve_bytes: of the free bytes left to others.
    """
    return min(allocator_bytes, held_bytes + max(0, free_bytes - reserve_bytes) // sharers)


class _Place(NamedTuple):
    ordinal: int
    sharers: int


def places_of(ordinals: Sequence[int], cuts: Sequence[int]) -> list[_Place]:
    """Where each logical GPU is: CUDA's number of the physical one, and how many share it.

    Args:
      ordinals: of the physical GPUs that TensorFlow sees, in its order.
      cuts: into how many logical ones each is cut.
    """
    return [
        _Place(ordinal, cut)
        for ordinal, cut in zip(ordinals, cuts, strict=True)
        for _ in range(cut)
    ]


def _places() -> list[_Place]:
    import tensorflow as tf

    visible = tf.config.get_visible_devices("GPU")
    return places_of(
        [int(device.name.rsplit(":", 1)[-1]) for device in visible],
        [len(tf.config.get_logical_device_configuration(device) or [None]) for device in visible],
    )


def _allocator_limits() -> dict[str, int]:
    """By short name of the logical device what TensorFlow allows itself there."""
    from tensorflow.python.client import device_lib
    from tensorflow.python.eager import context

    # With another configuration than the process's own it would set the devices up again.
    devices = device_lib.list_local_devices(context.context().config)
    return {_short(device.name): device.memory_limit for device in devices}


def _held_bytes(device: str) -> int:
    import tensorflow as tf

    try:
        return int(tf.config.experimental.get_memory_info(device)["current"])
    except ValueError:
        # An allocator without statistics; it holds no less than nothing.
        return 0


def _short(name: str) -> str:
    return name.rsplit("device:", 1)[-1].lstrip("/").upper()
