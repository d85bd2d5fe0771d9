"""Proof that a model's variables have one copy on every replica's device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def recorded_variables() -> Iterator[list[Any]]:
    """Collects every variable that is made inside, as the strategy in scope made it.

    What a saved model leaves out of its lists of variables is found as well.
    """
    import tensorflow as tf

    variables: list[Any] = []

    def create(next_creator: Any, **arguments: Any) -> Any:
        variable = next_creator(**arguments)
        variables.append(variable)
        return variable

    with tf.variable_creator_scope(create):
        yield variables


def unmirrored(variables: Iterable[Any], devices: tuple[str, ...]) -> list[str]:
    """Names of the variables that lack a copy of their own for one of the devices.

    A GPU's copy may be on the host: TensorFlow has no variables of int32, strings and some other
    types elsewhere, and puts them there whatever scope they are made in.

    Args:
      variables: as they were made in a strategy's scope.
      devices: full names of the replicas' devices, in order.
    """
    return [
        str(variable.name)
        for variable in variables
        if not _has_all(
            [getattr(copy, "device", "") for copy in getattr(variable, "values", ())], devices
        )
    ]


def _has_all(places: Sequence[str], devices: Sequence[str]) -> bool:
    return len(places) == len(devices) and all(
        place == device or ("GPU:" in device and "CPU:" in place)
        for place, device in zip(places, devices, strict=True)
    )


def copies(variables: Iterable[Any], replicas: int) -> tuple[tuple[Any, ...], ...]:
    """For each replica its own copies of mirrored variables."""
    mirrored = list(variables)
    return tuple(
        tuple(variable.values[replica] for variable in mirrored) for replica in range(replicas)
    )


def variables_bytes(variables: Iterable[Any]) -> int:
    """Bytes that one copy of the variables takes; strings count as nothing."""
    return sum(
        variable.shape.num_elements() * variable.dtype.size
        for variable in variables
        if variable.shape.is_fully_defined()
    )
