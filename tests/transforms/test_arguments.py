"""Arguments that are refused before a model is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms import Batching, ModelSpec
from transforms.arguments import check_arguments

_GIVEN: dict[str, Any] = {
    "devices": "all",
    "logical_devices": None,
    "input_spec": None,
    "input_map": None,
    "keep": None,
    "precision": None,
    "xla": False,
    "dispatch": "mirrored",
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"devices": "CPU:0"},
        {"devices": ["GPU:0", "gpu:1"]},
        {"devices": ("/device:CPU:0", "/job:localhost/replica:0/task:0/device:CPU:1")},
        {"logical_devices": np.int64(2)},
        {"keep": "a"},
        {"keep": ("a", "b")},
        {"keep": []},
        {"input_map": {"x": "a"}, "xla": True, "precision": "mixed_bfloat16"},
    ],
    ids=str,
)
def test_accepted(options: dict[str, Any]) -> None:
    check_arguments(**{**_GIVEN, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": None}, "expected devices='all' or device names. Received: None"),
        ({"devices": 3}, "expected devices='all' or device names. Received: 3"),
        ({"devices": [0]}, r"Received: \[0\]"),
        ({"devices": ""}, "Received: none"),
        ({"devices": "gpu0"}, "expected device names such as GPU:0 or CPU:0. Received: 'gpu0'"),
        ({"devices": "GPU:0,GPU:1"}, "Received: 'GPU:0,GPU:1'. Pass several as a tuple"),
        ({"devices": ["GPU:0", "/device:GPU:0"]}, "expected each device once"),
        ({"logical_devices": "2"}, "expected logical_devices of 1 or more, or None. Received: '2'"),
        ({"logical_devices": 1.5}, "Received: 1.5"),
        ({"logical_devices": True}, "Received: True"),
        ({"input_spec": 3}, "expected input_spec as a dict. Received: int"),
        ({"input_map": "x=y"}, "expected input_map as a dict. Received: str"),
        ({"input_map": {"x": 3}}, "expected input_map to name columns. Received: 3"),
        ({"keep": 3}, "expected keep as column names, 'all', 'none' or None. Received: 3"),
        ({"keep": [3]}, "expected keep as column names"),
        ({"precision": 16}, "expected precision among float32"),
        ({"xla": "yes"}, "expected xla as True or False. Received: 'yes'"),
        ({"xla": None}, "expected xla as True or False. Received: None"),
        ({"dispatch": "both"}, "expected dispatch among mirrored"),
    ],
    ids=str,
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_arguments(**{**_GIVEN, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"rows": 1.5},
        {"rows": True},
        {"rows": None},
        {"in_flight": "2"},
        {"in_flight": 1.5},
        {"in_flight": True},
        {"max_wait_seconds": "1"},
        {"max_wait_seconds": float("nan")},
        {"max_wait_seconds": float("inf")},
        {"max_host_bytes": "1"},
        {"max_host_bytes": 1.5},
    ],
    ids=str,
)
def test_batching_of_the_wrong_kind(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=rf"expected {name}.*\. Received: "):
        Batching(**options)


def test_numpy_counts_are_counts() -> None:
    assert Batching(np.int64(32)).group_rows == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trust": "no"}, "expected trust as True or False. Received: 'no'"),
        ({"signature": 3}, "expected signature as a name. Received: 3"),
        ({"custom_objects": ["m:f"]}, "expected custom_objects as a dict. Received: list"),
    ],
    ids=str,
)
def test_model_specs_of_the_wrong_kind(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec("m.keras", **options)
