"""The devices that score, and the strategy that mirrors a model over them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from transforms.engine.gpu_memory import total_memory_bytes

if TYPE_CHECKING:
    import tensorflow as tf

_LOG = logging.getLogger(__name__)

Devices = Literal["all"] | tuple[str, ...]
Dispatch = Literal["mirrored", "independent"]
DISPATCHES: tuple[Dispatch, ...] = ("mirrored", "independent")

# Left to CUDA, cuDNN and the display when a GPU is cut into logical devices.
_GPU_SHARE_FOR_LOGICAL_DEVICES = 0.9

_GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"
_DEVICE_FILE = re.compile(r"nvidia\d+")
# What CUDA takes for a device; it ignores a list from the first other entry on.
_CUDA_DEVICE = re.compile(r"\d+|(GPU|MIG)-.*")

_configuration_lock = threading.Lock()
_device_locks: dict[str, threading.Lock] = {}


class DeviceError(ValueError):
    """The devices that were asked for are not there, or were set up otherwise."""


@dataclasses.dataclass(frozen=True)
class Replicas:
    """One model copy per device, all run in lock step.

    Attributes:
      strategy: the ``tf.distribute.MirroredStrategy`` over the devices.
      devices: full logical device names, in replica order.
      kind: ``GPU`` or ``CPU``.
      first: place of the first device among those of the strategy, which may have more.
    """

    strategy: tf.distribute.Strategy
    devices: tuple[str, ...]
    kind: str
    first: int = 0

    @property
    def count(self) -> int:
        """How many replicas there are."""
        return len(self.devices)

    @property
    def in_all(self) -> int:
        """How many replicas the strategy has."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def runs_ahead(self) -> bool:
        """Whether a step's call returns before its devices are done."""
        return self.kind != "CPU"

    def apart(self) -> tuple[Replicas, ...]:
        """Each device by itself, with its own copy of what the strategy mirrors."""
        return tuple(
            dataclasses.replace(self, devices=(device,), first=self.first + index)
            for index, device in enumerate(self.devices)
        )

    @contextlib.contextmanager
    def alone(self, index: int) -> Iterator[None]:
        """On one device, as the replica that it is: mirrored variables are its own copies."""
        import tensorflow as tf

        replica = tf.distribute.ReplicaContext(self.strategy, self.first + index)
        with tf.device(self.devices[index]), replica:
            yield

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds every device: one step at a time, whichever predictor it belongs to.

        Concurrent eager calls from several threads on one GPU can give wrong results
        (tensorflow#123980), and a lock keeps peak memory at one step's.
        """
        with contextlib.ExitStack() as stack:
            for device in sorted(self.devices):
                stack.enter_context(_device_lock(device))
            yield


def open_replicas(
    devices: Devices | Sequence[str] | str = "all", logical_devices: int | None = None
) -> Replicas:
    """Sets the process's devices up and mirrors over the chosen ones.

    Args:
      devices: ``all`` takes every GPU, or every logical CPU where there is no GPU; else names
        such as ``GPU:0``.
      logical_devices: cut each physical device into this many logical ones: every GPU, or the
        CPU where there is none or `devices` are of it. Done once per process, before TensorFlow
        starts its devices.

    Raises:
      DeviceError: a device is absent, an NVIDIA device is present but TensorFlow does not see
        it, or the process has been set up with other logical devices.
    """
    import tensorflow as tf

    with _configuration_lock:
        _ask_for_growth()
        if logical_devices is not None:
            _cut_devices(logical_devices, on_cpu=_are_cpus(devices))
        chosen = _choose(devices)
        kind = chosen[0].rsplit(":", 2)[-2]
        # Nothing is reduced over replicas; the default would bring NCCL in for what reads one value
        # of several copies.
        strategy = tf.distribute.MirroredStrategy(
            list(chosen), cross_device_ops=tf.distribute.ReductionToOneDevice()
        )
    _LOG.info("%d replica(s) on %s", len(chosen), ", ".join(chosen))
    return Replicas(strategy, chosen, kind)


def nvidia_device_present(
    environment: Mapping[str, str] = os.environ, device_folder: Path = Path("/dev")
) -> bool:
    """Whether there is an NVIDIA device that this process may use.

    The driver's files in `/proc` say nothing: a container sees them whether it was given a device
    or not. A device's number on the host need not be 0.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not _CUDA_DEVICE.fullmatch(visible.split(",")[0].strip()):
        return False
    return any(_DEVICE_FILE.fullmatch(path.name) for path in device_folder.iterdir())


def memory_grows() -> bool:
    """Whether TensorFlow takes the memory of GPUs as it needs it, not all of it at its start."""
    import tensorflow as tf

    forced = os.environ.get(_GROWTH, "").lower()
    if forced in ("true", "false"):
        return forced == "true"
    gpus = tf.config.list_physical_devices("GPU")
    return any(tf.config.experimental.get_memory_growth(gpu) for gpu in gpus)


def _ask_for_growth() -> None:
    """Asks for memory as it is needed; too late where TensorFlow has its devices already."""
    from tensorflow.python.eager import context

    if _GROWTH in os.environ:
        return
    if not context.context()._initialized:
        os.environ[_GROWTH] = "true"
    elif not memory_grows():
        _LOG.info("TensorFlow has started its devices before, without memory growth")


def _device_lock(device: str) -> threading.Lock:
    return _device_locks.setdefault(device, threading.Lock())


def _are_cpus(devices: Devices | Sequence[str] | str) -> bool:
    names = (devices,) if isinstance(devices, str) else devices
    return all(_short(name).startswith("CPU") for name in names)


def _cut_devices(count: int, *, on_cpu: bool) -> None:
    import tensorflow as tf

    if count < 1:
        raise DeviceError(f"expected at least one logical device per device. Received: {count}.")
    gpus = [] if on_cpu else tf.config.list_physical_devices("GPU")
    for index, device in enumerate(gpus or tf.config.list_physical_devices("CPU")):
        present = tf.config.get_logical_device_configuration(device)
        if present is not None and len(present) == count:
            continue
        limit_mb = None
        if gpus:
            share = total_memory_bytes(index) * _GPU_SHARE_FOR_LOGICAL_DEVICES / count
            limit_mb = int(share / 2**20)
        cut = [tf.config.LogicalDeviceConfiguration(memory_limit=limit_mb)] * count
        try:
            tf.config.set_logical_device_configuration(device, cut)
        except RuntimeError as error:
            raise DeviceError(
                f"expected {device.name} to be cut into {count} logical device(s). Received: a "
                "process in which TensorFlow has already started its devices. Use one "
                "logical_devices for all transforms of a process, and build no model before."
            ) from error


def _choose(devices: Devices | Sequence[str] | str) -> tuple[str, ...]:
    import tensorflow as tf

    present = {
        kind: [device.name for device in tf.config.list_logical_devices(kind)]
        for kind in ("GPU", "CPU")
    }
    if devices == "all":
        if not present["GPU"] and nvidia_device_present():
            raise DeviceError(
                "expected TensorFlow to use this host's NVIDIA device. Received: no GPU from "
                "TensorFlow. Install mirrorbeam[gpu] and check the driver, or pass "
                "devices=('CPU:0',)."
            )
        return tuple(present["GPU"] or present["CPU"])
    names = (devices,) if isinstance(devices, str) else tuple(devices)
    known = {
        name.rsplit("device:", 1)[-1]: name for names_of in present.values() for name in names_of
    }
    absent = [name for name in names if _short(name) not in known]
    if absent or not names:
        raise DeviceError(
            f"expected devices among {', '.join(known)}. Received: {', '.join(absent) or 'none'}. "
            "Pass devices='all' or names that are there."
        )
    if len({_short(name) for name in names}) < len(names):
        raise DeviceError(
            f"expected each device once. Received: {', '.join(names)}. A device holds one replica."
        )
    if len({_short(name).split(":")[0] for name in names}) > 1:
        raise DeviceError(
            f"expected devices of one kind. Received: {', '.join(names)}. Replicas run in lock "
            "step: a CPU beside a GPU would hold it back."
        )
    return tuple(known[_short(name)] for name in names)


def _short(name: str) -> str:
    return name.rsplit("device:", 1)[-1].lstrip("/").upper()
