"""What a model gives, from the bare model, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
VOCABULARY = ("cat", "dog", "fish", "owl")


class Reference:
    """What a model gives, from the bare model, and rows that it takes."""

    def __init__(self, call: Callable[[Arrays], Mapping[str, Any]], draw: Callable[..., Arrays]):
        self._call = call
        self._draw = draw

    def __call__(self, inputs: Arrays) -> Arrays:
        return {name: np.asarray(value) for name, value in self._call(inputs).items()}

    def rows(self, count: int, seed: int = 0) -> Arrays:
        """Inputs of `count` rows; the same ones for the same seed."""
        return self._draw(count, np.random.default_rng(seed))


def floats(name: str, *shape: int) -> Callable[..., Arrays]:
    return lambda count, rng: {name: rng.normal(size=(count, *shape)).astype(np.float32)}


def words(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(np.array([word.encode() for word in (*VOCABULARY, "unknown")]), count).astype(
        object
    )
