"""Models of Keras 2; making them needs tf_keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.references import Reference, floats
from transforms.engine.model import ModelSpec


def keras_2_h5(folder: Path) -> tuple[ModelSpec, Reference]:
    """An `.h5` file of Keras 2 (needs tf_keras) with layers that Keras 3 reads differently:
    `image` float32[?,12,12,3] to `label` float32[?,4].
    """
    import tf_keras

    layers = tf_keras.layers
    image = layers.Input((12, 12, 3), name="image")
    hidden = layers.DepthwiseConv2D(3)(image)
    hidden = layers.BatchNormalization()(layers.SeparableConv2D(4, 3)(hidden))
    hidden = layers.Conv2DTranspose(3, 3, activation="hard_sigmoid")(hidden)
    branch = tf_keras.Sequential([layers.Input((10, 10, 3)), layers.Flatten(), layers.Dense(6)])
    label = layers.Dense(4, activation="softmax", name="label")(branch(hidden))
    model = tf_keras.Model(image, label)
    model.save(folder / "keras_2.h5")
    return ModelSpec(str(folder / "keras_2.h5")), Reference(
        lambda rows: {"label": model(rows["image"], training=False)}, floats("image", 12, 12, 3)
    )


def keras_2_ops_h5(folder: Path) -> tuple[ModelSpec, Reference]:
    """An `.h5` file of Keras 2 that only tf_keras loads: `x` float32[?,5] to `y` float32[?,2]."""
    import tensorflow as tf
    import tf_keras

    x = tf_keras.layers.Input((5,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(tf.nn.relu(x) * 2.0))
    model.save(folder / "keras_2_ops.h5")
    return ModelSpec(str(folder / "keras_2_ops.h5")), Reference(
        lambda rows: {"y": model(rows["x"], training=False)}, floats("x", 5)
    )


def keras_2_saved_model(folder: Path) -> tuple[ModelSpec, Reference]:
    """A SavedModel folder of Keras 2, trained: `x` float32[?,4] to `y` float32[?,3]."""
    import tf_keras

    x = tf_keras.layers.Input((4,), name="x")
    hidden = tf_keras.layers.Dense(3)(x)
    model = tf_keras.Model(x, tf_keras.layers.BatchNormalization(name="y")(hidden))
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    model.save(folder / "keras_2_saved_model", save_format="tf")
    return ModelSpec(str(folder / "keras_2_saved_model")), Reference(
        lambda rows: {"y": model(rows["x"], training=False)}, floats("x", 4)
    )
