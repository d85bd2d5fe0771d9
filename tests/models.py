"""Small models of every kind, each with what it gives when called without this project.

Every factory takes a folder, saves one model there and returns its `ModelSpec` and a
`Reference`: a function of arrays by input name that gives arrays by output name.
TensorFlow must have its logical devices before the first factory is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transforms.engine.model import ModelSpec

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


def _floats(name: str, *shape: int) -> Callable[..., Arrays]:
    return lambda count, rng: {name: rng.normal(size=(count, *shape)).astype(np.float32)}


def _words(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(np.array([word.encode() for word in (*VOCABULARY, "unknown")]), count).astype(
        object
    )


def build_mlp() -> Any:
    """An unsaved Keras model: `features` float32[?,8] to `scores` float32[?,3]."""
    import keras

    features = keras.Input((8,), name="features")
    hidden = keras.layers.Dense(16, activation="relu")(features)
    return keras.Model(features, keras.layers.Dense(3, activation="softmax", name="scores")(hidden))


def _mlp_reference(model: Any) -> Reference:
    return Reference(
        lambda inputs: {"scores": model(inputs["features"], training=False)},
        _floats("features", 8),
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
    spec = ModelSpec(str(folder / "mlp.weights.h5"), builder="tests.models:build_mlp")
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


def sequence_keras(folder: Path, steps: int = 7) -> tuple[ModelSpec, Reference]:
    """Any number of time steps: `sequence` float32[?,?,2] to `last` float32[?,3]."""
    import keras

    sequence = keras.Input((None, 2), name="sequence")
    model = keras.Model(sequence, keras.layers.GRU(3, name="last")(sequence))
    model.save(folder / "sequence.keras")
    return ModelSpec(str(folder / "sequence.keras")), Reference(
        lambda rows: {"last": model(rows["sequence"], training=False)},
        _floats("sequence", steps, 2),
    )


def strings_saved_model(folder: Path) -> tuple[ModelSpec, Reference]:
    """A SavedModel with a vocabulary file: `word` string[?] to `index` int64[?], `score`
    float32[?,2] and `upper` string[?].
    """
    import tensorflow as tf

    vocabulary = folder / "vocabulary.txt"
    vocabulary.write_text("\n".join(VOCABULARY))

    class Words(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vocabulary = tf.saved_model.Asset(str(vocabulary))
            self.table = tf.lookup.StaticVocabularyTable(
                tf.lookup.TextFileInitializer(
                    self.vocabulary,
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                num_oov_buckets=1,
            )
            self.scores = tf.Variable(np.arange(10, dtype=np.float32).reshape(5, 2))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
        def serve(self, word: Any) -> dict[str, Any]:
            index = self.table.lookup(word)
            upper = tf.strings.upper(word)
            return {"index": index, "score": tf.gather(self.scores, index), "upper": upper}

    module = Words()
    tf.saved_model.save(module, str(folder / "strings"), signatures=module.serve)
    return ModelSpec(str(folder / "strings")), Reference(
        lambda rows: module.serve(tf.constant(rows["word"])),
        lambda count, rng: {"word": _words(count, rng)},
    )


def examples_saved_model(folder: Path) -> tuple[ModelSpec, Reference]:
    """A SavedModel that parses records itself: `examples` string[?], serialized tf.Examples
    with `x` float32[4], to `sum` float32[?] and `scaled` float32[?,4].
    """
    import tensorflow as tf

    class Parsing(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = tf.Variable(np.arange(1, 5, dtype=np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: Any) -> dict[str, Any]:
            parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([4], tf.float32)})
            scaled = parsed["x"] * self.factor
            return {"scaled": scaled, "sum": tf.reduce_sum(scaled, axis=1)}

    module = Parsing()
    tf.saved_model.save(module, str(folder / "examples"), signatures=module.serve)

    def draw(count: int, rng: np.random.Generator) -> Arrays:
        values = rng.normal(size=(count, 4)).astype(np.float32)
        return {"examples": np.array([serialized_example(row) for row in values], dtype=object)}

    return ModelSpec(str(folder / "examples")), Reference(
        lambda rows: module.serve(tf.constant(rows["examples"])), draw
    )


def serialized_example(values: np.ndarray) -> bytes:
    """A tf.Example with the feature `x`."""
    import tensorflow as tf

    feature = tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))
    example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
    return bytes(example.SerializeToString())
