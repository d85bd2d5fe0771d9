"""Nested dicts, lists and tuples of tensors, as flat named columns and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Place = tuple[str | int, ...]


def is_tensor_like(value: Any) -> bool:
    """Whether a value is one thing rather than a nest of things."""
    return not isinstance(value, dict | list | tuple)


def leaves(
    structure: Any, is_leaf: Callable[[Any], bool] = is_tensor_like
) -> list[tuple[Place, Any]]:
    """Every leaf that is not None, in the order in which it was written, with its place.

    A place is made of dict keys and list positions; that of a bare leaf is empty.
    """
    if structure is None:
        return []
    if is_leaf(structure):
        return [((), structure)]
    items = structure.items() if isinstance(structure, dict) else enumerate(structure)
    return [
        ((key, *place), leaf) for key, nested in items for place, leaf in leaves(nested, is_leaf)
    ]


def filled(structure: Any, values: Iterator[Any]) -> Any:
    """The same structure with its leaves replaced, in the order of `leaves`."""
    if structure is None:
        return None
    if is_tensor_like(structure):
        return next(values)
    if isinstance(structure, dict):
        return {key: filled(nested, values) for key, nested in structure.items()}
    items = [filled(nested, values) for nested in structure]
    if hasattr(structure, "_fields"):
        return type(structure)(*items)
    return tuple(items) if isinstance(structure, tuple) else items


def column_names(places: Sequence[Place], fallbacks: Sequence[str]) -> list[str]:
    """One name for each leaf: its dict keys where it lies in a dict, else its fallback.

    Names that come twice get ``_1``, ``_2`` behind them from the second time on.
    """
    names: list[str] = []
    wanted = [
        "_".join(map(str, place)) if any(isinstance(part, str) for part in place) else fallback
        for place, fallback in zip(places, fallbacks, strict=True)
    ]
    for name in wanted:
        unique, count = name, 0
        while unique in names or (count and unique in wanted):
            count += 1
            unique = f"{name}_{count}"
        names.append(unique)
    return names
