"""A layer and a model of the tests' own, as a user's package would have them."""

from __future__ import annotations

from typing import Any

import keras


class Scaled(keras.layers.Layer):
    """Multiplies each feature by a weight, and all by a factor."""

    def __init__(self, factor: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale * self.factor

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"factor": self.factor}


@keras.saving.register_keras_serializable(package="tests")
class Towers(keras.Model):
    """A subclassed model with two inputs in a dict and two outputs in a tuple."""

    def __init__(self, width: int = 4, **options: Any) -> None:
        super().__init__(**options)
        self.width = width
        self.left = keras.layers.Dense(width)
        self.right = keras.layers.Dense(width)
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, inputs: Any, training: bool = False) -> Any:
        joined = self.left(inputs["left"]) + self.right(inputs["right"])
        return self.dropout(joined, training=training), keras.ops.mean(joined, axis=1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"width": self.width}
