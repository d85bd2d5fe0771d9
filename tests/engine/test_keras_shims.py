"""Layers as Keras 2 saved them: what Keras 3 computes with the rewritten configuration."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.engine.keras_config import objects
from transforms.engine.keras_loading import build_keras_model
from transforms.engine.keras_precision import with_precision
from transforms.engine.keras_shims import lost_in_keras_3, modernised
from transforms.engine.model import ModelSpec

tf_keras = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.usefixtures("logical_cpus")

IMAGE, STEPS, VOLUME, FILM = (6, 6, 3), (5, 4), (4, 4, 4, 2), (3, 5, 5, 2)
LAYERS = [
    ("Dense", {"units": 3, "activation": "hard_sigmoid"}, (4,)),
    ("Activation", {"activation": "hard_sigmoid"}, (4,)),
    ("BatchNormalization", {}, IMAGE),
    ("BatchNormalization", {"axis": 1}, IMAGE),
    ("LayerNormalization", {}, STEPS),
    ("GroupNormalization", {"groups": 2}, STEPS),
    ("Conv1D", {"filters": 2, "kernel_size": 2, "padding": "causal"}, STEPS),
    ("Conv2D", {"filters": 3, "kernel_size": 2, "groups": 3}, IMAGE),
    ("SeparableConv1D", {"filters": 2, "kernel_size": 2, "depth_multiplier": 2}, STEPS),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 2, "strides": 2}, IMAGE),
    ("DepthwiseConv1D", {"kernel_size": 2}, STEPS),
    ("DepthwiseConv2D", {"kernel_size": 2, "padding": "same"}, IMAGE),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2}, STEPS),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2}, IMAGE),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 3}, VOLUME),
    ("ConvLSTM2D", {"filters": 2, "kernel_size": 2}, FILM),
    ("SimpleRNN", {"units": 3}, STEPS),
    ("LSTM", {"units": 3, "recurrent_activation": "hard_sigmoid"}, STEPS),
    ("LSTM", {"units": 3, "go_backwards": True, "return_sequences": True}, STEPS),
    ("GRU", {"units": 3, "reset_after": False}, STEPS),
    ("Discretization", {"bin_boundaries": [0.0, 1.0]}, (3,)),
    ("RandomFlip", {}, IMAGE),
    ("RandomZoom", {"height_factor": 0.1}, IMAGE),
    ("Resizing", {"height": 3, "width": 9}, IMAGE),
    ("SpatialDropout1D", {"rate": 0.2}, STEPS),
    ("SpatialDropout2D", {"rate": 0.2}, IMAGE),
    ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, IMAGE),
    ("LeakyReLU", {"alpha": 0.2}, STEPS),
    ("ReLU", {"max_value": 1.0, "negative_slope": 0.1}, STEPS),
]


def compare(folder: Path, make: Any, shape: tuple[int, ...], library: str = "Keras 3") -> None:
    """Saves a model of Keras 2 with weights away from zero and compares what it gives."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = tf_keras.layers.Input(shape, name="x")
    model = tf_keras.Model(x, make(x))
    for weight in model.weights:
        if weight.dtype.is_floating:
            weight.assign(rng.uniform(0.05, 0.8, weight.shape).astype(np.float32))
    model.save(folder / "old.h5")
    loaded = build_keras_model(ModelSpec(str(folder / "old.h5")), "h5")
    assert loaded.library.startswith(library)
    rows = rng.normal(size=(4, *shape)).astype(np.float32)
    (got,) = loaded({"x": tf.constant(rows)}).values()
    np.testing.assert_allclose(got, model(rows, training=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "arguments", "shape"), LAYERS)
def test_layer(
    tmp_path: Path, name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    compare(tmp_path, getattr(tf_keras.layers, name)(**arguments), shape)


def test_attention_with_tensors_by_keyword(tmp_path: Path) -> None:
    layers = tf_keras.layers
    compare(tmp_path, lambda x: layers.MultiHeadAttention(2, 3)(x, value=x, key=x), STEPS)
    compare(tmp_path, lambda x: layers.Attention()([x, x]), STEPS)


def test_nested_models(tmp_path: Path) -> None:
    layers = tf_keras.layers
    twice = tf_keras.Sequential([layers.Input((4,)), layers.Dense(4)])
    once = tf_keras.Sequential([layers.Input((4,)), layers.Dense(4)])
    y = layers.Input((4,))
    functional = tf_keras.Model(y, layers.Dense(4)(once(y)))
    compare(tmp_path, lambda x: twice(functional(twice(x))), (4,))


def test_wrapped_layers(tmp_path: Path) -> None:
    layers = tf_keras.layers
    compare(tmp_path, layers.Bidirectional(layers.LSTM(3)), STEPS)
    compare(tmp_path, layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), STEPS)
    compare(tmp_path, layers.TimeDistributed(layers.Dense(3)), STEPS)


def test_mixed_precision(tmp_path: Path) -> None:
    layers = tf_keras.layers
    compare(
        tmp_path,
        lambda x: layers.Activation("softmax", dtype="float32")(
            layers.Dense(3, dtype=tf_keras.mixed_precision.Policy("mixed_bfloat16"))(x)
        ),
        (4,),
    )


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("ThresholdedReLU", {}, (4,)),
        ("LocallyConnected1D", {"filters": 2, "kernel_size": 2}, STEPS),
        ("UnitNormalization", {"axis": [1, 2]}, STEPS),
        ("LayerNormalization", {"axis": [1, 2]}, STEPS),
        ("RandomCrop", {"height": 4, "width": 4}, IMAGE),
    ],
)
def test_what_only_keras_2_computes_right(
    tmp_path: Path, name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    layer = getattr(tf_keras.layers, name)
    compare(tmp_path, layer(**arguments), shape, library="tf_keras")


def test_rewriting_leaves_the_original_alone() -> None:
    config = tf_keras.Sequential(
        [tf_keras.layers.LSTM(2, recurrent_activation="hard_sigmoid", input_shape=STEPS)]
    ).get_config()
    config = {"class_name": "Sequential", "config": config}
    before = copy.deepcopy(config)
    assert modernised(config) != before
    assert config == before


def test_arguments_that_mean_something_stay() -> None:
    """A setting that Keras 3 lacks is refused by Keras 3, not dropped."""
    layer = {"class_name": "LSTM", "config": {"units": 3, "time_major": True}}
    assert modernised(layer) == layer
    assert modernised({"class_name": "LSTM", "config": {"time_major": False}})["config"] == {}


def test_lost_in_keras_3() -> None:
    layer = {"class_name": "Softmax", "config": {"name": "s", "axis": [1, 2]}}
    assert "axes [1, 2] of layer 's'" in str(lost_in_keras_3(layer, True, False))
    assert lost_in_keras_3(layer, False, False) is None
    layer["config"]["axis"] = [1]  # type: ignore[index]
    assert lost_in_keras_3(layer, True, True) is None


def layer_of(name: str, policy: Any, **more: Any) -> dict[str, Any]:
    return {"class_name": name, "config": {"trainable": True, "dtype": policy, **more}}


def test_precision_rewrites_layers_and_nothing_else() -> None:
    policy = {"class_name": "DTypePolicy", "config": {"name": "float32"}}
    config = {
        "class_name": "Functional",
        "config": {
            "trainable": True,
            "layers": [
                {"class_name": "InputLayer", "config": {"dtype": "float32"}},
                layer_of("Dense", policy),
                layer_of("StringLookup", "string"),
                {"class_name": "Cast", "config": {"dtype": "float32"}},
            ],
        },
    }
    rewritten = with_precision(config, "mixed_float16")
    dtypes = [found["config"].get("dtype") for found in objects(rewritten)]
    assert dtypes == [None, "float32", "mixed_float16", "string", "float32"]


def test_precision_keeps_float32_layers_of_a_mixed_model() -> None:
    config = {"layers": [layer_of("Dense", "mixed_float16"), layer_of("Softmax", "float32")]}
    rewritten = with_precision(config, "mixed_bfloat16")["layers"]
    assert [layer["config"]["dtype"] for layer in rewritten] == ["mixed_bfloat16", "float32"]
    rewritten = with_precision(config, "float32")["layers"]
    assert [layer["config"]["dtype"] for layer in rewritten] == ["float32", "float32"]
