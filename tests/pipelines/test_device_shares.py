from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.device_shares import DeviceShares, visible_devices


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("0,1, 3", ("0", "1", "3")),
        ("GPU-8f2c,MIG-77a1", ("GPU-8f2c", "MIG-77a1")),
        ("-1", ()),
        ("", ()),
        ("1,-1,0", ("1",)),
    ],
)
def test_listed_devices_are_the_visible_ones(variable: str, expected: tuple[str, ...]):
    assert visible_devices({"CUDA_VISIBLE_DEVICES": variable}) == expected


def test_without_a_list_all_devices_of_the_host_are_visible(tmp_path: Path):
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_devices({}, str(tmp_path)) == ("0", "2", "10")


def test_a_share_that_was_given_back_is_dealt_again():
    shares = DeviceShares(["0", "1", "2", "3"], per_worker=2)
    first, second = shares.take(), shares.take()
    assert (first, second) == (("0", "1"), ("2", "3"))
    shares.give_back(first)
    assert shares.take() == first


def test_more_workers_than_shares_are_told_and_spread(caplog: pytest.LogCaptureFixture):
    shares = DeviceShares(["0", "1"], per_worker=1)
    taken = [shares.take() for _ in range(4)]
    assert sorted(taken) == [("0",), ("0",), ("1",), ("1",)]
    assert "devices 0 now have 2 worker processes" in caplog.text


@pytest.mark.parametrize(("devices", "per_worker"), [([], 1), (["0", "1", "2"], 2), (["0"], 2)])
def test_devices_that_make_no_even_shares_are_refused(devices: list[str], per_worker: int):
    with pytest.raises(ValueError, match=f"expected NVIDIA devices in shares of {per_worker}"):
        DeviceShares(devices, per_worker)
