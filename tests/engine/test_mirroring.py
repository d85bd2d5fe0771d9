"""When a variable counts as mirrored."""

from __future__ import annotations

import dataclasses

import pytest
import tensorflow as tf
from tensorflow.python.framework import dtypes, kernels

from transforms.engine.mirroring import unmirrored

HOST = "/job:localhost/replica:0/task:0/device:CPU:0"
GPUS = tuple(f"/job:localhost/replica:0/task:0/device:GPU:{index}" for index in range(2))
CPUS = (HOST, HOST.replace("CPU:0", "CPU:1"))


@dataclasses.dataclass
class Copy:
    device: str


class Variable:
    """As much of a variable as says where it is."""

    name = "v"

    def __init__(self, *places: str) -> None:
        if places:
            self.values = tuple(map(Copy, places))


@pytest.mark.parametrize(
    ("places", "devices"), [(GPUS, GPUS), (CPUS, CPUS), ((HOST, HOST), GPUS), (GPUS[:1], GPUS[:1])]
)
def test_a_copy_for_each_device(places: tuple[str, ...], devices: tuple[str, ...]) -> None:
    assert unmirrored([Variable(*places)], devices) == []


@pytest.mark.parametrize(
    ("places", "devices"),
    [((), GPUS), (GPUS[:1], GPUS), (GPUS[::-1], GPUS), ((HOST, HOST), CPUS), ((HOST,), GPUS)],
)
def test_copies_that_are_missing(places: tuple[str, ...], devices: tuple[str, ...]) -> None:
    assert unmirrored([Variable(*places)], devices) == ["v"]


def test_tensorflow_has_no_int32_variables_on_gpus() -> None:
    assert tf.__version__
    on_devices = [
        {dtypes.as_dtype(kind).name for rule in kernel.constraint
         for kind in rule.allowed_values.list.type}
        for kernel in kernels.get_registered_kernels_for_op("VarHandleOp").kernel
        if kernel.device_type in ("GPU", "DEFAULT")
    ]  # fmt: skip
    known = set().union(*on_devices)
    assert {"float32", "int64"} <= known
    assert not {"int32", "string"} & known
