"""Which devices are taken, and which requests are refused."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from transforms.engine.replicas import DeviceError, open_replicas

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
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "replicas 2" in done.stdout
