"""What a Keras model takes, read from its configuration alone."""

from __future__ import annotations

from typing import Any

from transforms.engine.keras_config import Config, is_reference, policy_name
from transforms.engine.keras_file import KerasFile
from transforms.engine.model import ModelError
from transforms.engine.signature import TensorField
from transforms.engine.structures import Place, leaves

PlacedField = tuple[Place, TensorField]


def config_inputs(file: KerasFile) -> tuple[PlacedField, ...] | None:
    """The inputs that a model's configuration names, with their places in its structure.

    Functional models name their input layers, Sequential ones start with one. Of a subclassed
    model only the shapes that it was built with are known: float32 is what Keras feeds it.

    Returns:
      None where only building the model can tell.

    Raises:
      ModelError: the model takes sparse or ragged tensors.
    """
    inner = file.inner_config
    if "input_layers" in inner and "layers" in inner:
        return _of_functional(inner, file.path)
    if file.config["class_name"] == "Sequential" and inner.get("layers"):
        return _of_sequential(inner, file.path)
    build = file.config.get("build_config")
    if isinstance(build, dict):
        return built_inputs(build)
    return None


def _of_functional(inner: Config, path: str) -> tuple[PlacedField, ...] | None:
    layers = {_name(layer): layer for layer in inner["layers"]}
    fields = []
    for place, reference in leaves(inner["input_layers"], is_reference):
        layer = layers.get(reference[0]) if isinstance(reference, list) else None
        if layer is None or layer["class_name"] != "InputLayer":
            return None
        field = _of_input_layer(layer["config"], reference[0], path)
        if field is None:
            return None
        fields.append((place, field))
    return tuple(fields)


def _of_sequential(inner: Config, path: str) -> tuple[PlacedField, ...] | None:
    first = inner["layers"][0]
    config = first.get("config")
    if not isinstance(config, dict):
        return None
    name = _name(first)
    if first["class_name"] == "InputLayer":
        field = _of_input_layer(config, name, path)
    elif "batch_input_shape" in config:
        # Keras 2 gave the input of a first layer this name.
        field = _of_input_layer(config, f"{name}_input", path)
    else:
        shape = inner.get("build_input_shape")
        field = None
        if _is_shape(shape):
            field = _field(f"{name}_input", shape, _dtype(config.get("dtype")))
    return None if field is None else (((), field),)


def _name(layer: Config) -> str:
    return str(layer.get("name") or layer["config"].get("name", "input"))


def _of_input_layer(config: Config, name: str, path: str) -> TensorField | None:
    for kind in ("sparse", "ragged"):
        if config.get(kind):
            raise unsupported_input(path, name, kind)
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    return _field(name, shape, _dtype(config.get("dtype"))) if _is_shape(shape) else None


def unsupported_input(path: str, name: str, kind: str) -> ModelError:
    """The error for an input that is no dense tensor."""
    return ModelError(
        f"expected a model whose inputs are dense tensors. Received: {path!r}, whose input "
        f"{name!r} is {kind}. Wrap the model in one that takes dense tensors and makes them "
        f"{kind} itself, and save that."
    )


def built_inputs(build: Config) -> tuple[PlacedField, ...] | None:
    """The inputs of a model by the shapes that it was built with; None without any."""
    shapes: Any = build.get("shapes_dict") or build.get("input_shape")
    if "shapes_dict" in build and shapes:
        # One entry for each argument of the model's call, as Keras names them.
        shapes = {key.removesuffix("_shape"): shape for key, shape in shapes.items()}
    placed = leaves(shapes, _is_shape)
    if not placed or not all(_is_shape(shape) for _, shape in placed):
        return None
    return tuple((place, _field(built_name(place), shape, "float32")) for place, shape in placed)


def built_name(place: Place) -> str:
    """The name of an input that has none, by where it is in what the model takes."""
    if not any(isinstance(part, str) for part in place):
        return "_".join(["inputs", *map(str, place)])
    return "_".join(map(str, place))


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(size is None or isinstance(size, int) for size in value)
    )


def _field(name: str, shape: Any, dtype: str) -> TensorField:
    return TensorField(name, dtype, tuple(shape[1:]))


def _dtype(dtype: Any) -> str:
    """The dtype in which a layer takes its input, from a dtype or a serialized policy."""
    name = policy_name(dtype) or "float32"
    return "float32" if name.startswith("mixed_") else name
