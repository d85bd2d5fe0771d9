"""Signatures from files: equal to those of loaded models, and read without building one."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import models
from tests.engine.test_loading import KERAS, KERAS_2, SAVED_MODELS, strategy_of
from tests.processes import python
from transforms.engine.loading import load_model
from transforms.engine.model import ModelSpec
from transforms.engine.read_signature import read_signature
from transforms.engine.saved_model import natural_order
from transforms.engine.signature import Signature, TensorField

pytestmark = pytest.mark.usefixtures("logical_cpus")


@pytest.mark.parametrize("factory", KERAS + SAVED_MODELS + KERAS_2)
def test_inputs_as_the_loaded_model_has_them(tmp_path: Path, factory: Callable[..., Any]) -> None:
    if factory in KERAS_2:
        pytest.importorskip("tf_keras")
    spec, _ = factory(tmp_path)
    loaded = load_model(spec, strategy_of(1)).signature
    read = read_signature(spec)
    assert read.inputs == loaded.inputs
    assert read.name == loaded.name
    assert read.outputs in (None, loaded.outputs)


@pytest.mark.parametrize("factory", [models.multi_keras, models.subclassed_keras])
def test_complete_knows_the_outputs(tmp_path: Path, factory: Callable[..., Any]) -> None:
    spec, _ = factory(tmp_path)
    assert read_signature(spec, complete=True) == load_model(spec, strategy_of(1)).signature


def test_fields(tmp_path: Path) -> None:
    spec, _ = models.multi_keras(tmp_path)
    assert read_signature(spec).inputs == (
        TensorField("marks", "float32", (4,)),
        TensorField("age", "float32", (1,)),
        TensorField("code", "int32", ()),
    )
    spec, _ = models.sequence_keras(tmp_path)
    assert str(read_signature(spec).inputs[0]) == "float32[?,?,2]"
    spec, _ = models.strings_saved_model(tmp_path)
    signature = read_signature(spec)
    assert signature.takes_records
    assert [str(field) for field in signature.outputs or ()] == [
        "int64[?]",
        "float32[?,2]",
        "string[?]",
    ]


def test_precision_shows_in_the_outputs(tmp_path: Path) -> None:
    spec, _ = models.mlp_keras(tmp_path)
    signature = read_signature(spec, complete=True, precision="mixed_bfloat16")
    assert signature.outputs == (TensorField("scores", "bfloat16", (3,)),)
    assert signature.inputs == (TensorField("features", "float32", (8,)),)


def test_keras_set_up_for_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, _ = models.mlp_weights(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert read_signature(spec).outputs == (TensorField("scores", "float32", (3,)),)


def test_builder_in_a_closure(tmp_path: Path) -> None:
    import keras

    width = 5

    def build() -> Any:
        return keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(width, name="y")])

    build().save_weights(tmp_path / "w.weights.h5")
    signature = read_signature(ModelSpec(str(tmp_path / "w.weights.h5"), builder=build))
    assert signature.outputs == (TensorField("y", "float32", (5,)),)


def test_reading_starts_no_device(tmp_path: Path) -> None:
    """Neither a file nor the process beside it makes this one start TensorFlow's devices."""
    paths = {}
    for factory in (models.mlp_keras, models.mlp_h5, models.strings_saved_model):
        spec, _ = factory(tmp_path)
        paths[factory.__name__] = spec.path
    program = f"""
        import sys
        from transforms.engine.model import ModelSpec
        from transforms.engine.read_signature import read_signature
        read_signature(ModelSpec({paths["mlp_keras"]!r}))
        read_signature(ModelSpec({paths["mlp_h5"]!r}), complete=True)
        assert "tensorflow" not in sys.modules and "keras" not in sys.modules
        read_signature(ModelSpec({paths["strings_saved_model"]!r}))
        import tensorflow as tf
        # Only possible while no device has been started.
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 3
        )
    """
    python("-c", textwrap.dedent(program))


def test_json_round_trip() -> None:
    import json

    fields = (TensorField("a", "string", None), TensorField("b", "float32", (None, 2)))
    for outputs in (None, fields):
        signature = Signature("keras", fields, outputs)
        assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature


def test_natural_order() -> None:
    assert natural_order(["output_10", "output_2", "a", "output_1"]) == [
        "a",
        "output_1",
        "output_2",
        "output_10",
    ]
