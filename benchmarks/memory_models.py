"""Models of five kinds, the smallest that still look like those people score with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from transforms.engine.signature import TensorField

WORDS = [f"word{index}" for index in range(1000)]


def mlp() -> Any:
    """512 features through two layers of 2048."""
    import keras

    features = keras.Input((512,), name="features")
    hidden = keras.layers.Dense(2048, activation="relu")(features)
    hidden = keras.layers.Dense(2048, activation="relu")(hidden)
    return keras.Model(features, keras.layers.Dense(10, name="scores")(hidden))


def cnn() -> Any:
    """Images of 96 by 96 through inverted residuals with depthwise convolutions."""
    import keras

    layers = keras.layers

    def normal(values: Any, active: bool = True) -> Any:
        values = layers.BatchNormalization()(values)
        return layers.ReLU(6.0)(values) if active else values

    image = keras.Input((96, 96, 3), name="image")
    values = normal(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(image))
    for channels, strides in ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
        wide = values.shape[-1] * 6
        inner = normal(layers.Conv2D(wide, 1, use_bias=False)(values))
        inner = normal(
            layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(inner)
        )
        inner = normal(layers.Conv2D(channels, 1, use_bias=False)(inner), active=False)
        same = strides == 1 and values.shape[-1] == channels
        values = layers.Add()([values, inner]) if same else inner
    pooled = layers.GlobalAveragePooling2D()(values)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="scores")(pooled))


def lstm() -> Any:
    """96 steps of 32 features through two recurrent layers."""
    import keras

    series = keras.Input((96, 32), name="series")
    hidden = keras.layers.LSTM(64, return_sequences=True)(series)
    return keras.Model(series, keras.layers.Dense(10, name="scores")(keras.layers.LSTM(64)(hidden)))


def embedding() -> Any:
    """64 words as strings: looked up, embedded, mixed and averaged."""
    import keras

    layers = keras.layers
    words = keras.Input((64,), name="words", dtype="string")
    numbers = layers.StringLookup(vocabulary=WORDS)(words)
    embedded = layers.Embedding(len(WORDS) + 1, 128)(numbers)
    mixed = layers.Dense(256, activation="relu")(embedded)
    pooled = layers.GlobalAveragePooling1D()(mixed)
    return keras.Model(words, layers.Dense(10, name="scores")(pooled))


def attention() -> Any:
    """64 tokens of 128 features through two transformer blocks."""
    import keras

    layers = keras.layers
    tokens = keras.Input((64, 128), name="tokens")
    values = tokens
    for _ in range(2):
        normal = layers.LayerNormalization()(values)
        values = layers.Add()([values, layers.MultiHeadAttention(4, 32)(normal, normal)])
        normal = layers.LayerNormalization()(values)
        wide = layers.Dense(512, activation="gelu")(normal)
        values = layers.Add()([values, layers.Dense(128)(wide)])
    pooled = layers.GlobalAveragePooling1D()(values)
    return keras.Model(tokens, layers.Dense(10, name="scores")(pooled))


MODELS: dict[str, Callable[[], Any]] = {
    "mlp": mlp,
    "cnn": cnn,
    "lstm": lstm,
    "embedding": embedding,
    "attention": attention,
}


def draw_rows(field: TensorField, rows: int) -> dict[str, np.ndarray]:
    """Rows for a model's one input.

    Their memory is not aligned, so that TensorFlow copies them every time; arrays that happen to
    be aligned it uses as they are, and then they are in no allocator's figures.
    """
    generator = np.random.default_rng(0)
    shape = (rows, *(size or 1 for size in field.shape or ()))
    if field.dtype == "string":
        return {field.name: generator.choice(WORDS, size=shape).astype(object)}
    entries = math.prod(shape)
    room = np.empty(entries + 16, dtype=np.float32)
    start = next(index for index in range(1, 17) if room[index:].ctypes.data % 64)
    values = room[start : start + entries].reshape(shape)
    values[:] = generator.random(shape, dtype=np.float32)
    return {field.name: values}
