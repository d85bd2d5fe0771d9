"""What the loader says of models that it cannot load, before and while it loads them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import models
from tests.engine.test_loading import strategy_of
from transforms.engine.loading import load_model
from transforms.engine.model import ModelError, ModelSpec
from transforms.engine.read_signature import read_signature

pytestmark = pytest.mark.usefixtures("logical_cpus")


def both_messages(spec: ModelSpec, precision: str | None = None) -> list[str]:
    """What the driver, from the file alone, and the worker say."""
    messages = []
    for call in (
        lambda: read_signature(spec, precision=precision),
        lambda: load_model(spec, strategy_of(2), precision=precision),
    ):
        with pytest.raises(ModelError) as caught:
            call()
        messages.append(str(caught.value))
    return messages


def load_message(spec: ModelSpec) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(spec, strategy_of(2))
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_signature_that_is_not_there(tmp_path: Path) -> None:
    spec, _ = models.signatures_saved_model(tmp_path)
    for message in both_messages(ModelSpec(spec.path, signature="minus")):
        assert message == (
            f"expected the signature 'minus' in the SavedModel. Received: {spec.path!r}, which has "
            "the signatures plus, times and the functions plus, times. Pass --signature with one "
            "of them."
        )
    for message in both_messages(ModelSpec(spec.path)):
        assert message.startswith("expected a signature to call in the SavedModel.")
        assert "plus, times" in message


def test_saved_model_with_nothing_to_call(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "silent"))
    for message in both_messages(ModelSpec(str(tmp_path / "silent"))):
        assert "which has no signature" in message
        assert "Save the model with signatures" in message


@pytest.mark.parametrize("what", ["precision", "builder"])
def test_saved_model_takes_neither_precision_nor_builder(tmp_path: Path, what: str) -> None:
    spec, _ = models.strings_saved_model(tmp_path)
    if what == "builder":
        messages = both_messages(ModelSpec(spec.path, builder=models.build_mlp))
    else:
        messages = both_messages(spec, precision="mixed_float16")
    for message in messages:
        assert "a SavedModel" in message
        assert f"Leave --{what} out" in message


def test_keras_file_has_no_signatures(tmp_path: Path) -> None:
    spec, _ = models.mlp_keras(tmp_path)
    for message in both_messages(ModelSpec(spec.path, signature="serving_default")):
        assert "a Keras file, which has none. Leave --signature out" in message


def test_unknown_precision(tmp_path: Path) -> None:
    spec, _ = models.mlp_keras(tmp_path)
    for message in both_messages(spec, precision="int8"):
        assert message.startswith(
            "expected precision to be one of float32, mixed_bfloat16, mixed_float16. "
            "Received: 'int8'."
        )


def test_weights_without_a_builder(tmp_path: Path) -> None:
    spec, _ = models.mlp_weights(tmp_path)
    for message in both_messages(ModelSpec(spec.path)):
        assert "which holds weights alone. Pass --builder module:function" in message


def _other_model() -> Any:
    import keras

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(7)])


def _broken_builder() -> Any:
    raise RuntimeError("out of ideas")


def _exiting_builder() -> Any:
    os._exit(3)


def _no_model() -> Any:
    return {"model": None}


@pytest.mark.parametrize(
    ("builder", "received"),
    [
        (_other_model, "expected weights that fit the builder's model"),
        (_broken_builder, "expected the builder to return a Keras model. Received: RuntimeError"),
        (_no_model, "expected the builder to return a Keras model. Received: dict"),
        ("tests.engine:nothing", "expected builder to be importable"),
    ],
)
def test_builders_that_do_not_build(tmp_path: Path, builder: Any, received: str) -> None:
    spec, _ = models.mlp_weights(tmp_path)
    assert load_message(ModelSpec(spec.path, builder=builder)).startswith(received)


def test_errors_come_back_from_the_other_process(tmp_path: Path) -> None:
    spec, _ = models.mlp_weights(tmp_path)
    broken = ModelSpec(spec.path, builder=_broken_builder)
    from_child, from_here = both_messages(broken)
    assert from_child == from_here
    with pytest.raises(ModelError, match="exit status 3"):
        read_signature(ModelSpec(spec.path, builder=_exiting_builder))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_needs_trust(tmp_path: Path, suffix: str) -> None:
    import keras

    x = keras.Input((2,), name="x")
    model = keras.Model(x, keras.layers.Lambda(lambda value: value + 1, name="plus_one")(x))
    path = str(tmp_path / f"code{suffix}")
    model.save(path)
    for message in both_messages(ModelSpec(path)):
        assert "whose layers 'plus_one' run Python code" in message
        assert "--trust_model" in message
    assert [field.name for field in read_signature(ModelSpec(path, trust=True)).inputs] == ["x"]


def test_code_in_a_nested_model_needs_trust(tmp_path: Path) -> None:
    import keras

    inner = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda value: value + 1)])
    model = keras.Sequential([keras.Input((2,)), inner])
    model.save(tmp_path / "nested.keras")
    for message in both_messages(ModelSpec(str(tmp_path / "nested.keras"))):
        assert "--trust_model" in message


def test_lambda_of_a_named_function_is_no_code(tmp_path: Path) -> None:
    import keras

    x = keras.Input((2,), name="x")
    model = keras.Model(x, keras.layers.Lambda(doubled, name="y")(x))
    model.save(tmp_path / "named.keras")
    objects = {"doubled": doubled}
    loaded = load_model(
        ModelSpec(str(tmp_path / "named.keras"), custom_objects=objects), strategy_of(1)
    )
    assert [field.name for field in loaded.signature.outputs or ()] == ["y"]


def doubled(value: Any) -> Any:
    return value * 2


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_missing_custom_object(tmp_path: Path, suffix: str) -> None:
    import keras

    from tests.layers import Scaled

    x = keras.Input((3,), name="x")
    path = str(tmp_path / f"custom{suffix}")
    keras.Model(x, Scaled(name="y")(x)).save(path)
    message = load_message(ModelSpec(path))
    assert message.startswith(
        f"expected every class and function that {path!r} names to be known. Received: 'Scaled'"
    )
    assert "Pass --custom_objects Scaled=module:Scaled" in message
    message = load_message(ModelSpec(path, custom_objects={"Scaled": "tests.layers:Missing"}))
    assert "has no attribute 'Missing'" in message
    assert "--custom_objects Scaled=module:name" in message


def test_broken_archive(tmp_path: Path) -> None:
    import zipfile

    spec, _ = models.mlp_keras(tmp_path)
    path = tmp_path / "broken.keras"
    with zipfile.ZipFile(spec.path) as source, zipfile.ZipFile(path, "w") as target:
        target.writestr("config.json", source.read("config.json")[:-20])
        target.writestr("metadata.json", source.read("metadata.json"))
    for message in both_messages(ModelSpec(str(path))):
        assert "whose configuration cannot be read" in message


def test_broken_saved_model(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"\xff" * 50)
    for message in both_messages(ModelSpec(str(tmp_path / "broken"))):
        assert "whose saved_model.pb cannot be read" in message


def test_saved_model_without_its_variables(tmp_path: Path) -> None:
    import shutil

    spec, _ = models.mlp_export(tmp_path)
    shutil.rmtree(Path(spec.path) / "variables")
    message = load_message(spec)
    assert message.startswith("expected a SavedModel that TensorFlow can load. Received:")


def test_rows_must_be_free(tmp_path: Path) -> None:
    import tensorflow as tf

    class Fixed(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([4, 3], tf.float32, name="x")])
        def serve(self, x: Any) -> dict[str, Any]:
            return {"y": x}

    module = Fixed()
    tf.saved_model.save(module, str(tmp_path / "fixed"), signatures=module.serve)
    for message in both_messages(ModelSpec(str(tmp_path / "fixed"))):
        assert "takes 'x' as [4, 3]. Export a signature with None there." in message


def test_sparse_and_ragged_inputs(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    x = keras.Input((3,), name="x", sparse=True)
    keras.Model(x, keras.layers.Dense(2)(x)).save(tmp_path / "sparse.keras")
    for message in both_messages(ModelSpec(str(tmp_path / "sparse.keras"))):
        assert "whose input 'x' is sparse" in message

    class Ragged(tf.Module):
        @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])
        def serve(self, rows: Any) -> dict[str, Any]:
            return {"sum": tf.reduce_sum(rows, axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
        def gives(self, rows: Any) -> dict[str, Any]:
            return {"kept": tf.ragged.boolean_mask(rows, rows > 0)}

    module = Ragged()
    signatures = {"takes": module.serve, "gives": module.gives}
    tf.saved_model.save(module, str(tmp_path / "ragged"), signatures=signatures)
    for name, what in (("takes", "takes one that is"), ("gives", "gives 'kept'")):
        for message in both_messages(ModelSpec(str(tmp_path / "ragged"), signature=name)):
            assert message.startswith("expected a signature of dense tensors.")
            assert what in message
            assert "ragged" in message


def test_model_that_was_never_called(tmp_path: Path) -> None:
    import keras

    from tests.layers import Towers

    Towers().save(tmp_path / "new.keras")
    new = ModelSpec(str(tmp_path / "new.keras"), custom_objects={"Towers": Towers})
    assert "a Towers that was never called" in load_message(new)
    keras.Sequential([keras.layers.Dense(2)]).save(tmp_path / "shapeless.keras")
    for message in both_messages(ModelSpec(str(tmp_path / "shapeless.keras"))):
        assert "that was never called" in message


def test_axes_that_hdf5_files_lose(tmp_path: Path) -> None:
    import keras

    x = keras.Input((4, 3), name="x")
    model = keras.Model(x, keras.layers.UnitNormalization(axis=[1, 2], name="unit")(x))
    model.save(tmp_path / "axes.h5")
    message = load_message(ModelSpec(str(tmp_path / "axes.h5")))
    assert "loses the axes [1, 2] of layer 'unit'" in message
    assert "model.save('x.keras')" in message


def test_vocabulary_that_hdf5_files_lose(tmp_path: Path) -> None:
    import keras

    word = keras.Input((), name="word", dtype="string")
    lookup = keras.layers.StringLookup(name="lookup")
    lookup.adapt(np.array(["cat", "dog"]))
    keras.Model(word, lookup(word)).save(tmp_path / "words.h5")
    message = load_message(ModelSpec(str(tmp_path / "words.h5")))
    assert "loses the vocabulary of layer 'lookup'" in message


def test_operation_that_hdf5_files_lose(tmp_path: Path) -> None:
    import keras

    x = keras.Input((3,), name="x")
    keras.Model(x, keras.ops.relu(x) * 2.0).save(tmp_path / "operations.h5")
    message = load_message(ModelSpec(str(tmp_path / "operations.h5")))
    assert "save the model with model.save('x.keras')" in message


def test_keras_2_without_tf_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tf_keras")
    spec, _ = models.keras_2_ops_h5(tmp_path)
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    message = load_message(spec)
    assert message.startswith(f"expected tf_keras, to load {spec.path!r} as Keras 2 saved it.")
    assert "TFOpLambda" in message
    assert message.endswith("Run pip install mirrorbeam[legacy].")


def test_errors_keep_their_cause(tmp_path: Path) -> None:
    import keras

    from tests.layers import Scaled

    x = keras.Input((3,), name="x")
    keras.Model(x, Scaled(name="y")(x)).save(tmp_path / "custom.keras")
    with pytest.raises(ModelError) as caught:
        load_model(ModelSpec(str(tmp_path / "custom.keras")), strategy_of(1))
    assert isinstance(caught.value.__cause__, TypeError)
    assert "Scaled" in str(caught.value.__cause__)
