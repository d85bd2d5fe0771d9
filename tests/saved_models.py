"""SavedModels of every age."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.keras_models import build_mlp
from tests.references import VOCABULARY, Arrays, Reference, floats, words
from transforms.engine.model import ModelSpec


def serialized_example(values: np.ndarray) -> bytes:
    """A tf.Example with the feature `x`."""
    import tensorflow as tf

    feature = tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))
    example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
    return bytes(example.SerializeToString())


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
        lambda count, rng: {"word": words(count, rng)},
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


def mlp_export(folder: Path) -> tuple[ModelSpec, Reference]:
    """The plain network, exported by Keras 3: its output is called `output_0` there."""
    model = build_mlp()
    model.export(str(folder / "mlp_export"), verbose=False)
    return ModelSpec(str(folder / "mlp_export")), Reference(
        lambda rows: {"output_0": model(rows["features"], training=False)}, floats("features", 8)
    )


def signatures_saved_model(folder: Path) -> tuple[ModelSpec, Reference]:
    """A SavedModel with the signatures `plus` and `times`; the spec asks for `times`.

    `times` takes `left` float32[?,2] and `right` float32[?,2] and gives `product` of the same
    shape and `mean`, one number for all rows.
    """
    import tensorflow as tf

    class Arithmetic(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = tf.Variable(3.0)

        @tf.function
        def plus(self, left: Any) -> dict[str, Any]:
            return {"sum": left + self.factor}

        @tf.function
        def times(self, left: Any, right: Any) -> dict[str, Any]:
            return {"product": left * right * self.factor, "mean": tf.reduce_mean(self.factor)}

    module = Arithmetic()
    pairs = tf.TensorSpec([None, 2], tf.float32)
    signatures = {
        "plus": module.plus.get_concrete_function(pairs),
        "times": module.times.get_concrete_function(pairs, pairs),
    }
    tf.saved_model.save(module, str(folder / "signatures"), signatures=signatures)

    def draw(count: int, rng: np.random.Generator) -> Arrays:
        return {name: rng.normal(size=(count, 2)).astype(np.float32) for name in ("left", "right")}

    return ModelSpec(str(folder / "signatures"), signature="times"), Reference(
        lambda rows: module.times(rows["left"], rows["right"]), draw
    )


def unsigned_saved_model(folder: Path) -> tuple[ModelSpec, Reference]:
    """A SavedModel without signatures: called with `{"a": float32[?,3], "b": float32[?,3]}` it
    gives `y` float32[?,2] and the pair `z` of float32[?,3] and float32[?].
    """
    import tensorflow as tf

    class Called(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2))

        @tf.function
        def __call__(self, both: Any, training: bool = False) -> dict[str, Any]:
            product = tf.matmul(both["a"], self.kernel) + (1.0 if training else 0.0)
            return {"y": product, "z": (both["b"], tf.reduce_sum(both["a"], axis=1))}

    module = Called()
    three = tf.TensorSpec([None, 3], tf.float32)
    for training in (True, False):
        module.__call__.get_concrete_function({"a": three, "b": three}, training=training)
    tf.saved_model.save(module, str(folder / "unsigned"))

    def call(rows: Arrays) -> dict[str, Any]:
        outputs = module({name: tf.constant(value) for name, value in rows.items()})
        return {"y": outputs["y"], "z_0": outputs["z"][0], "z_1": outputs["z"][1]}

    def draw(count: int, rng: np.random.Generator) -> Arrays:
        return {name: rng.normal(size=(count, 3)).astype(np.float32) for name in ("a", "b")}

    return ModelSpec(str(folder / "unsigned")), Reference(call, draw)


def pinned_saved_model(folder: Path) -> tuple[ModelSpec, Reference]:
    """A SavedModel whose computation was saved under the name of a device, `x` to `y`."""
    import tensorflow as tf

    class Pinned(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2))

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def serve(self, x: Any) -> dict[str, Any]:
            with tf.device("/device:CPU:0"):
                return {"y": tf.matmul(x, self.kernel)}

    module = Pinned()
    tf.saved_model.save(module, str(folder / "pinned"), signatures=module.serve)
    return ModelSpec(str(folder / "pinned")), Reference(
        lambda rows: module.serve(rows["x"]), floats("x", 3)
    )


def tf1_saved_model(folder: Path) -> tuple[ModelSpec, Reference]:
    """A SavedModel as TensorFlow 1 made them, with a table: `x` float32[?,3] and `word`
    string[?] to `y` float32[?,2] and `index` int64[?].
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
    offset = np.array([5.0, 7.0], np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = {
            "x": v1.placeholder(tf.float32, [None, 3]),
            "word": v1.placeholder(tf.string, [None]),
        }
        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                VOCABULARY, np.arange(len(VOCABULARY), dtype=np.int64)
            ),
            default_value=-1,
        )
        # One variable of the kind that is an operation, one that is a resource.
        first = v1.get_variable("kernel", initializer=kernel, use_resource=False)
        second = v1.get_variable("offset", initializer=offset, use_resource=True)
        outputs = {
            "y": tf.matmul(inputs["x"], first) + second,
            "index": table.lookup(inputs["word"]),
        }
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder / "tf1"))
        definition = v1.saved_model.predict_signature_def(inputs, outputs)
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": definition}, main_op=v1.tables_initializer()
        )
        builder.save()

    def call(rows: Arrays) -> dict[str, Any]:
        known = {word.encode(): index for index, word in enumerate(VOCABULARY)}
        index = np.array([known.get(word, -1) for word in rows["word"]], np.int64)
        return {"y": rows["x"] @ kernel + offset, "index": index}

    def draw(count: int, rng: np.random.Generator) -> Arrays:
        return {
            "x": rng.normal(size=(count, 3)).astype(np.float32),
            "word": words(count, rng),
        }

    return ModelSpec(str(folder / "tf1")), Reference(call, draw)
