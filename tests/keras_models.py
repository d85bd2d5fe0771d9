"""Models in files of Keras 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.references import Arrays, Reference, floats
from transforms.engine.model import ModelSpec


def build_mlp() -> Any:
    """An unsaved Keras model: `features` float32[?,8] to `scores` float32[?,3]."""
    import keras

    features = keras.Input((8,), name="features")
    hidden = keras.layers.Dense(16, activation="relu")(features)
    return keras.Model(features, keras.layers.Dense(3, activation="softmax", name="scores")(hidden))


def _mlp_reference(model: Any) -> Reference:
    return Reference(
        lambda inputs: {"scores": model(inputs["features"], training=False)},
        floats("features", 8),
    )


def mlp_keras(folder: Path) -> tuple[ModelSpec, Reference]:
    """A plain network in a `.keras` file."""
    model = build_mlp()
    model.save(folder / "mlp.keras")
    return ModelSpec(str(folder / "mlp.keras")), _mlp_reference(model)


def mlp_h5(folder: Path) -> tuple[ModelSpec, Reference]:
    """The same in an `.h5` file of Keras 3, compiled."""
    model = build_mlp()
    model.compile(loss="mse", metrics=["mae"])
    model.save(folder / "mlp.h5")
    return ModelSpec(str(folder / "mlp.h5")), _mlp_reference(model)


def mlp_weights(folder: Path) -> tuple[ModelSpec, Reference]:
    """The same as a `.weights.h5` file and a builder by name."""
    model = build_mlp()
    model.save_weights(folder / "mlp.weights.h5")
    spec = ModelSpec(str(folder / "mlp.weights.h5"), builder="tests.keras_models:build_mlp")
    return spec, _mlp_reference(model)


def multi_keras(folder: Path) -> tuple[ModelSpec, Reference]:
    """Inputs `age` float32[?,1], `code` int32[?], `marks` float32[?,4]; outputs by dict:
    `risk` float32[?,1] and `kind` float32[?,2].
    """
    import keras

    inputs = {
        "marks": keras.Input((4,), name="marks"),
        "age": keras.Input((1,), name="age"),
        "code": keras.Input((), name="code", dtype="int32"),
    }
    embedded = keras.layers.Embedding(10, 3)(inputs["code"])
    joined = keras.layers.Concatenate()([inputs["marks"], inputs["age"], embedded])
    hidden = keras.layers.Dense(8, activation="tanh")(joined)
    outputs = {
        "risk": keras.layers.Dense(1, activation="sigmoid")(hidden),
        "kind": keras.layers.Dense(2)(hidden),
    }
    model = keras.Model(inputs, outputs)
    model.save(folder / "multi.keras")

    def draw(count: int, rng: np.random.Generator) -> Arrays:
        return {
            "marks": rng.normal(size=(count, 4)).astype(np.float32),
            "age": rng.uniform(size=(count, 1)).astype(np.float32),
            "code": rng.integers(0, 10, size=count, dtype=np.int32),
        }

    spec = ModelSpec(str(folder / "multi.keras"))
    return spec, Reference(lambda rows: model(rows, training=False), draw)


def listed_keras(folder: Path) -> tuple[ModelSpec, Reference]:
    """Inputs `left` and `right` float32[?,3] as a list, outputs `total` float32[?,3] and
    `state` ×3 (one layer with three outputs) as a list.
    """
    import keras

    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    total = keras.layers.Add(name="total")([left, right])
    steps = keras.layers.Reshape((3, 1))(total)
    states = keras.layers.LSTM(2, return_state=True, name="state")(steps)
    model = keras.Model([left, right], [total, *states])
    model.save(folder / "listed.keras")
    names = ("total", "state", "state_1", "state_2")

    def call(rows: Arrays) -> dict[str, Any]:
        return dict(zip(names, model([rows["left"], rows["right"]], training=False), strict=True))

    def draw(count: int, rng: np.random.Generator) -> Arrays:
        return {name: rng.normal(size=(count, 3)).astype(np.float32) for name in ("left", "right")}

    return ModelSpec(str(folder / "listed.keras")), Reference(call, draw)


def custom_layer_keras(folder: Path) -> tuple[ModelSpec, Reference]:
    """A layer of the tests' own, by name: `x` float32[?,3] to `y` float32[?,3]."""
    import keras

    from tests.layers import Scaled

    x = keras.Input((3,), name="x")
    model = keras.Model(x, Scaled(1.5, name="y")(x))
    model.save(folder / "custom.keras")
    spec = ModelSpec(str(folder / "custom.keras"), custom_objects={"Scaled": "tests.layers:Scaled"})
    return spec, Reference(lambda rows: {"y": model(rows["x"], training=False)}, floats("x", 3))


def subclassed_keras(folder: Path) -> tuple[ModelSpec, Reference]:
    """A subclassed model in a `.keras` file: `left` float32[?,3] and `right` float32[?,2] to
    `output_0` float32[?,4] and `output_1` float32[?].
    """
    from tests.layers import Towers

    model = Towers()

    def call(rows: Arrays) -> dict[str, Any]:
        first, second = model(rows, training=False)
        return {"output_0": first, "output_1": second}

    def draw(count: int, rng: np.random.Generator) -> Arrays:
        return {
            "left": rng.normal(size=(count, 3)).astype(np.float32),
            "right": rng.normal(size=(count, 2)).astype(np.float32),
        }

    call(draw(2, np.random.default_rng(0)))
    model.save(folder / "subclassed.keras")
    spec = ModelSpec(str(folder / "subclassed.keras"), custom_objects={"Towers": Towers})
    return spec, Reference(call, draw)


def sequence_keras(folder: Path, steps: int = 7) -> tuple[ModelSpec, Reference]:
    """Any number of time steps: `sequence` float32[?,?,2] to `last` float32[?,3]."""
    import keras

    sequence = keras.Input((None, 2), name="sequence")
    model = keras.Model(sequence, keras.layers.GRU(3, name="last")(sequence))
    model.save(folder / "sequence.keras")
    return ModelSpec(str(folder / "sequence.keras")), Reference(
        lambda rows: {"last": model(rows["sequence"], training=False)},
        floats("sequence", steps, 2),
    )
