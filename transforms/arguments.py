"""Whether the arguments of an inference are of the kind that they have to be."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from transforms.engine.model import PRECISIONS
from transforms.engine.replicas import DISPATCHES

_DEVICE = re.compile(r"(?:CPU|GPU):\d+")


def check_arguments(
    *,
    devices: Any,
    logical_devices: Any,
    input_spec: Any,
    input_map: Any,
    keep: Any,
    precision: Any,
    xla: Any,
    dispatch: Any,
) -> None:
    """Refuses what no model and no worker could make sense of.

    Raises:
      ValueError: says what was expected, what was received and what to do.
    """
    check_devices(devices)
    if logical_devices is not None and not is_count(logical_devices):
        raise ValueError(
            f"expected logical_devices of 1 or more, or None. Received: {logical_devices!r}."
        )
    for name, given, example in (
        ("input_spec", input_spec, "{column: tf.TensorSpec}"),
        ("input_map", input_map, "{model input: column}"),
    ):
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(
                f"expected {name} as a dict. Received: {type(given).__name__}. Pass {example}."
            )
    for column in (input_map or {}).values():
        if not isinstance(column, str):
            raise ValueError(
                f"expected input_map to name columns. Received: {column!r}. "
                "Pass {model input: column}."
            )
    if keep is not None and not (isinstance(keep, str) or _are_names(keep)):
        raise ValueError(
            f"expected keep as column names, 'all', 'none' or None. Received: {keep!r}."
        )
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(
            f"expected precision among {', '.join(PRECISIONS)}. Received: {precision}."
        )
    if not isinstance(xla, (bool, np.bool_)):
        raise ValueError(f"expected xla as True or False. Received: {xla!r}.")
    if dispatch not in DISPATCHES:
        raise ValueError(f"expected dispatch among {', '.join(DISPATCHES)}. Received: {dispatch}.")


def is_count(value: Any) -> bool:
    """Whether it is a whole number above 0, Python's or NumPy's."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) > 0


def device_names(devices: str | Iterable[str]) -> Any:
    """Devices as the engine takes them: `all`, or a tuple of names."""
    if isinstance(devices, str):
        return "all" if devices == "all" else (devices,)
    return tuple(devices)


def check_devices(devices: Any) -> None:
    """Refuses what names no devices; whether they are there, only a worker knows.

    Raises:
      ValueError: says what was expected and what was received.
    """
    if not isinstance(devices, str) and not _are_names(devices):
        raise ValueError(
            f"expected devices='all' or device names. Received: {devices!r}. "
            "Pass names such as ('GPU:0', 'GPU:1')."
        )
    if not devices:
        raise ValueError("expected devices='all' or device names. Received: none.")
    if devices == "all":
        return
    names = device_names(devices)
    short = [name.rsplit("device:", 1)[-1].lstrip("/").upper() for name in names]
    for name, its_short in zip(names, short, strict=True):
        if not _DEVICE.fullmatch(its_short):
            raise ValueError(
                f"expected device names such as GPU:0 or CPU:0. Received: {name!r}. "
                "Pass several as a tuple."
            )
    if len(set(short)) < len(short):
        raise ValueError(
            f"expected each device once. Received: {', '.join(names)}. A device holds one replica."
        )


def _are_names(given: Any) -> bool:
    return (
        isinstance(given, Iterable)
        and not isinstance(given, (bytes, Mapping))
        and not hasattr(given, "__next__")
        and all(isinstance(name, str) for name in given)
    )
