"""A Keras 2 model's configuration in the words of Keras 3.

What each needs was found by saving every layer and activation with Keras 2 and comparing
what Keras 3 computes with it. All of it works on JSON; nothing here builds a layer.
"""

from __future__ import annotations

import copy
from typing import Any

from transforms.engine.keras_config import Config, is_reference, objects, policy_name, references

# Keras 2 has another hard_sigmoid than Keras 3: clip(0.2 x + 0.5) for relu6(x + 3) / 6.
OLD_HARD_SIGMOID = "keras_2_hard_sigmoid"

_ANY = object()
_LOOKUPS = ("IntegerLookup", "StringLookup", "TextVectorization")
_ACTIVATIONS = ("activation", "recurrent_activation")

# Arguments that Keras 2 saved and Keras 3 refuses, with the value that changes nothing.
_RNN = {"time_major": False}
_TRANSPOSED = _DEPTHWISE = {"groups": 1}
_SEPARABLE = {
    "groups": 1,
    "kernel_initializer": _ANY,
    "kernel_regularizer": _ANY,
    "kernel_constraint": _ANY,
}
_RANDOM = {"rng_type": _ANY}
_SPATIAL_DROPOUT = {"trainable": _ANY, "noise_shape": None}
_REFUSED: dict[str, dict[str, Any]] = {
    "Attention": {"score_mode": "dot"},
    "ConvLSTM1D": _RNN,
    "ConvLSTM2D": _RNN,
    "ConvLSTM3D": _RNN,
    "GRU": _RNN,
    "LSTM": _RNN,
    "RNN": _RNN,
    "SimpleRNN": _RNN,
    "Conv1DTranspose": _TRANSPOSED,
    "Conv2DTranspose": _TRANSPOSED,
    "Conv3DTranspose": _TRANSPOSED,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "Discretization": {"trainable": _ANY},
    "MultiHeadAttention": {
        "query_shape": _ANY,
        "key_shape": _ANY,
        "value_shape": _ANY,
        "softmax_robust_masking": False,
    },
    "RandomBrightness": _RANDOM,
    "RandomContrast": _RANDOM,
    "RandomCrop": _RANDOM,
    "RandomFlip": _RANDOM,
    "RandomRotation": _RANDOM,
    "RandomTranslation": _RANDOM,
    "RandomZoom": _RANDOM,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "SpatialDropout1D": _SPATIAL_DROPOUT,
    "SpatialDropout2D": _SPATIAL_DROPOUT,
    "SpatialDropout3D": _SPATIAL_DROPOUT,
}


def modernised(config: Config) -> Config:
    """The same model in the words of Keras 3, as far as there are any.

    Layers may name the activation `OLD_HARD_SIGMOID`: whoever loads the model must have it
    among the custom objects.
    """
    config = copy.deepcopy(config)
    for found in objects(config):
        inner = found.get("config")
        if not isinstance(inner, dict):
            continue
        for key, harmless in _REFUSED.get(found["class_name"], {}).items():
            if key in inner and (harmless is _ANY or inner[key] == harmless):
                del inner[key]
        if isinstance(inner.get("dtype"), dict):
            inner["dtype"] = policy_name(inner["dtype"])
        for key in _ACTIVATIONS:
            if inner.get(key) == "hard_sigmoid":
                inner[key] = _function(OLD_HARD_SIGMOID)
        if "output_layers" in inner and "layers" in inner:
            _renumber_calls(inner)
            for layer in inner["layers"]:
                nodes = layer.get("inbound_nodes", [])
                layer["inbound_nodes"] = [_with_tensor_arguments(node) for node in nodes]
    return config


def lost_in_keras_3(config: Config, in_hdf5: bool, from_keras_2: bool) -> str | None:
    """What Keras 3 would load without complaint and compute otherwise, or None."""
    for found in objects(config):
        inner = found.get("config")
        if not isinstance(inner, dict):
            continue
        name = inner.get("name", found["class_name"])
        axis = inner.get("axis")
        if in_hdf5 and isinstance(axis, list) and len(axis) > 1:
            return f"the axes {axis} of layer {name!r}, which Keras 3 drops from HDF5 files"
        if in_hdf5 and found["class_name"] in _LOOKUPS and not inner.get("vocabulary"):
            return f"the vocabulary of layer {name!r}, which HDF5 files of Keras 3 do not keep"
        if from_keras_2 and found["class_name"] == "RandomCrop":
            return f"the crop of layer {name!r}, which Keras 3 does in training alone"
    return None


def _function(name: str) -> Config:
    return {
        "module": "builtins",
        "class_name": "function",
        "config": name,
        "registered_name": name,
    }


def _renumber_calls(model: Config) -> None:
    """Counts the calls of nested models from 0, as Keras 3 does.

    In Keras 2 the first call of one was number 1, after the model's own graph. Keras 3 still
    counts so where it says what the outer model gives, and for Functional models only there.
    """
    calls = list(references([layer.get("inbound_nodes") for layer in model["layers"]]))
    results = list(references([model["output_layers"], model["input_layers"]]))
    for layer in model["layers"]:
        if layer["class_name"] == "Sequential":
            own = [*calls, *results]
        elif isinstance(layer.get("config"), dict) and "output_layers" in layer["config"]:
            own = calls
        else:
            continue
        name = layer.get("name") or layer["config"]["name"]
        own = [reference for reference in own if reference[0] == name]
        if all(reference[1] >= 1 for reference in own):
            for reference in own:
                reference[1] -= 1


def _with_tensor_arguments(node: Any) -> Any:
    """A call in the form of Keras 3 where tensors are among its keyword arguments.

    Keras 3 reads the old form too, but takes such tensors for lists of numbers.
    """
    if not isinstance(node, list) or not all(is_reference(entry) for entry in node):
        return node
    arguments: dict[str, Any] = {}
    for entry in node:
        arguments |= entry[3] if len(entry) == 4 and isinstance(entry[3], dict) else {}
    if not any(True for _ in references(arguments)):
        return node
    tensors = [_tensor(entry) for entry in node]
    return {
        "args": [tensors[0] if len(tensors) == 1 else tensors],
        "kwargs": {key: _as_tensors(value) for key, value in arguments.items()},
    }


def _as_tensors(value: Any) -> Any:
    if is_reference(value):
        return _tensor(value)
    if isinstance(value, list):
        return [_as_tensors(nested) for nested in value]
    return value


def _tensor(reference: list[Any]) -> Config:
    # Keras finds the tensor by its history; shape and dtype are only there to be read.
    history = {"shape": [None], "dtype": "float32", "keras_history": reference[:3]}
    return {"class_name": "__keras_tensor__", "config": history}
