"""Whether this machine has the devices that a job asks for, without starting one."""

from __future__ import annotations

from typing import Literal

from transforms.engine.replicas import DeviceError, nvidia_device_present


def check_devices(
    devices: tuple[str, ...] | Literal["all"], logical_devices: int | None
) -> tuple[str, ...]:
    """Names of the devices that will be used.

    Raises:
      DeviceError: one is absent, or TensorFlow does not see this host's GPU.
    """
    are_cpus = devices != "all" and all("CPU" in name.upper() for name in devices)
    present = {kind: _names(kind, logical_devices, are_cpus) for kind in ("GPU", "CPU")}
    if devices == "all":
        if not present["GPU"] and nvidia_device_present():
            raise DeviceError(
                "expected TensorFlow to use this host's NVIDIA device. Received: no GPU from "
                "TensorFlow. Install mirrorbeam[gpu] and check the driver, or pass "
                "--devices CPU:0."
            )
        return tuple(present["GPU"] or present["CPU"])
    there = [*present["GPU"], *present["CPU"]]
    asked = [name.upper().removeprefix("/").removeprefix("DEVICE:") for name in devices]
    absent = [name for name, short in zip(devices, asked, strict=True) if short not in there]
    if absent:
        raise DeviceError(
            f"expected devices among {', '.join(there)}. Received: {', '.join(absent)}. "
            "Pass --devices all or names that are there."
        )
    if len(set(asked)) < len(asked):
        raise DeviceError(f"expected each device once. Received: --devices {','.join(devices)}.")
    if len({name.partition(":")[0] for name in asked}) > 1:
        raise DeviceError(
            f"expected devices of one kind. Received: --devices {','.join(devices)}. Replicas run "
            "in lock step: a CPU beside a GPU would hold it back."
        )
    return tuple(asked)


def _names(kind: str, logical_devices: int | None, are_cpus: bool) -> list[str]:
    """Logical devices that a kind's physical ones are, or will be cut into."""
    import tensorflow as tf

    # Only the GPUs are cut where there are any, unless CPUs alone are asked for.
    cut_kind = "GPU" if tf.config.list_physical_devices("GPU") and not are_cpus else "CPU"
    count = 0
    for device in tf.config.list_physical_devices(kind):
        present = tf.config.get_logical_device_configuration(device)
        count += (logical_devices if kind == cut_kind else None) or len(present or [None])
    return [f"{kind}:{index}" for index in range(count)]
