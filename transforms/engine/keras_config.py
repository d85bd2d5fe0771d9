"""The JSON in which Keras writes a model down: walking it, whatever its version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Config = dict[str, Any]


def objects(config: Any) -> Iterator[Config]:
    """Every serialized object in a configuration, outer ones first."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from objects(value)


def is_reference(value: Any) -> bool:
    """Whether a part is `[layer, call, tensor]`, perhaps with arguments behind: a tensor."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(number, int) for number in value[1:3])
    )


def references(value: Any) -> Iterator[list[Any]]:
    """Every reference to a tensor in a part of a configuration."""
    if is_reference(value):
        yield value
        value = value[3:]
    if isinstance(value, dict | list):
        for nested in value.values() if isinstance(value, dict) else value:
            yield from references(nested)


def policy_name(dtype: Any) -> str:
    """The name of a dtype policy, as Keras 1, 2 or 3 wrote it; empty where there is none."""
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name")
    return dtype if isinstance(dtype, str) else ""
