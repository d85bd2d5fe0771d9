"""The networks that are scored; weights are random and always the same."""

from __future__ import annotations

from pathlib import Path

FEATURES, HIDDEN, CLASSES = 32, 64, 10


def save_mlp(path: Path) -> None:
    """Saves a network of 32, 64 and 10 units: `features[n, 32]` to `scores[n, 10]`."""
    import keras

    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            keras.Input((FEATURES,), name="features"),
            keras.layers.Dense(HIDDEN, activation="relu"),
            keras.layers.Dense(CLASSES, name="scores"),
        ]
    ).save(path)
