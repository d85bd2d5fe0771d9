"""Which devices are taken, and which requests are refused."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import tensorflow as tf

from tests.processes import python
from transforms.engine.replicas import (
    DeviceError,
    _are_cpus,
    nvidia_device_present,
    open_replicas,
)

pytestmark = pytest.mark.usefixtures("logical_cpus")


def test_all_takes_every_logical_cpu_where_there_is_no_gpu(logical_cpus: int) -> None:
    replicas = open_replicas("all")
    assert replicas.count == logical_cpus
    assert replicas.kind == "CPU"
    assert replicas.strategy.num_replicas_in_sync == logical_cpus


def test_chosen_devices_keep_their_order() -> None:
    replicas = open_replicas(("CPU:2", "cpu:0"))
    assert [name[-5:] for name in replicas.devices] == ["CPU:2", "CPU:0"]


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (("GPU:0",), "expected devices among CPU:0.*Received: GPU:0. Pass devices='all'"),
        (("CPU:0", "CPU:9"), "Received: CPU:9"),
        ((), "Received: none"),
        (("CPU:0", "CPU:0"), "expected each device once"),
    ],
)
def test_refused(devices: tuple[str, ...], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        open_replicas(devices)


def test_other_logical_devices_than_the_process_has(logical_cpus: int) -> None:
    assert open_replicas("all", logical_devices=logical_cpus).count == logical_cpus
    with pytest.raises(DeviceError, match=r"expected .* to be cut into 3 logical"):
        open_replicas("all", logical_devices=3)


def test_two_holders_of_one_device_wait_for_each_other() -> None:
    first, second = open_replicas(("CPU:0", "CPU:1")), open_replicas(("CPU:1", "CPU:2"))
    inside = threading.Event()

    def enter() -> None:
        with second.exclusive():
            inside.set()

    thread = threading.Thread(target=enter)
    with first.exclusive():
        thread.start()
        assert not inside.wait(0.2)
    thread.join()
    assert inside.is_set()


def test_logical_devices_are_made_in_a_fresh_process() -> None:
    program = (
        "from transforms.engine.replicas import open_replicas\n"
        "print('replicas', open_replicas('all', logical_devices=2).count)"
    )
    done = python("-c", program)
    assert "replicas 2" in done.stdout


@pytest.mark.parametrize(
    ("visible", "files", "present"),
    [
        (None, ["nvidia0", "nvidiactl"], True),
        (None, ["nvidia3", "nvidiactl"], True),
        (None, ["nvidiactl", "nvidia-uvm", "null"], False),
        ("1,0", ["nvidia0", "nvidia1"], True),
        ("MIG-7a0e3c44", ["nvidia0"], True),
        ("GPU-7a0e3c44", ["nvidia0"], True),
        ("", ["nvidia0"], False),
        ("-1", ["nvidia0"], False),
        ("NoDevFiles", ["nvidia0"], False),
    ],
)
def test_nvidia_devices_of_the_process(
    tmp_path: Path, visible: str | None, files: list[str], present: bool
) -> None:
    for name in files:
        (tmp_path / name).touch()
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert nvidia_device_present(environment, tmp_path) == present


def test_no_collectives_are_set_up() -> None:
    extended = open_replicas(("CPU:0", "CPU:1")).strategy.extended
    assert isinstance(extended._cross_device_ops, tf.distribute.ReductionToOneDevice)


@pytest.mark.parametrize(
    ("before", "given", "grows"),
    [
        ("", None, True),
        ("", "false", False),
        ("tf.config.list_logical_devices()", None, False),
        ("tf.config.list_logical_devices()", "true", True),
    ],
    ids=["asked for", "forbidden", "too late", "asked for before"],
)
def test_memory_of_gpus_is_taken_as_needed(before: str, given: str | None, grows: bool) -> None:
    program = (
        f"import tensorflow as tf; {before}\n"
        "from transforms.engine.replicas import memory_grows, open_replicas\n"
        "open_replicas('CPU:0')\n"
        "print('grows', memory_grows())"
    )
    environment = {key: value for key, value in os.environ.items() if "GROWTH" not in key}
    if given is not None:
        environment["TF_FORCE_GPU_ALLOW_GROWTH"] = given
    done = python("-c", program, env=environment)
    assert f"grows {grows}" in done.stdout


@pytest.mark.parametrize(
    ("devices", "is_cpu"),
    [("all", False), ("CPU:0", True), (("cpu:0", "/device:CPU:1"), True), (("GPU:0",), False)],
)
def test_which_devices_are_cut(devices: str | tuple[str, ...], is_cpu: bool) -> None:
    assert _are_cpus(devices) == is_cpu
