"""From a Keras file, or weights and their builder, to a built model."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

from transforms.engine import keras_errors
from transforms.engine.keras_config import objects
from transforms.engine.keras_file import (
    KerasFile,
    code_layers,
    file_for_keras,
    linked,
    read_keras_file,
)
from transforms.engine.keras_inputs import config_inputs
from transforms.engine.keras_model import KerasModel
from transforms.engine.keras_precision import check_precision, with_precision
from transforms.engine.keras_shims import OLD_HARD_SIGMOID, lost_in_keras_3, modernised
from transforms.engine.model import ModelError, ModelKind, ModelSpec, import_object

_LOG = logging.getLogger(__name__)
Scope = Callable[[], AbstractContextManager[Any]]


def build_keras_model(
    spec: ModelSpec,
    kind: ModelKind,
    *,
    precision: str | None = None,
    scope: Scope = contextlib.nullcontext,
) -> KerasModel:
    """Builds the model and gives it its weights.

    It happens in a thread of its own: Keras numbers layers per thread, so names that it
    makes up are the same in every process, and a dtype policy set here stays here.

    Args:
      spec: a Keras file, or weights with a builder.
      kind: what its content is.
      precision: dtype policy to build with; None keeps the model's own.
      scope: what to make the variables under, such as a strategy's scope.

    Raises:
      ModelError: Keras cannot build it, or the weights do not fit.
    """
    if precision is not None:
        check_precision(precision)

    def build() -> KerasModel:
        _check_backend()
        with scope(), tempfile.TemporaryDirectory(prefix="mirrorbeam-") as folder:
            if spec.builder is not None:
                return _from_builder(spec, kind, precision, folder)
            return _from_file(spec, cast(Literal["keras", "h5"], kind), precision, folder)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="keras-build") as pool:
        return pool.submit(build).result()


def _check_backend() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            "expected Keras to run on TensorFlow. "
            f"Received: Keras set up for {keras.backend.backend()}. Unset KERAS_BACKEND, or set "
            "the backend to tensorflow in ~/.keras/keras.json."
        )


def _from_file(
    spec: ModelSpec, kind: Literal["keras", "h5"], precision: str | None, folder: str
) -> KerasModel:
    file = read_keras_file(spec.path, kind)
    layers = code_layers(file.config)
    if layers and not spec.trust:
        raise keras_errors.code_error(spec.path, layers)
    lost = lost_in_keras_3(file.config, kind == "h5", file.is_keras_2)
    if not file.is_keras_2:
        if lost is not None:
            raise keras_errors.lossy_error(spec.path, lost)
        return _load_keras_3(spec, file, precision, folder)
    if kind == "keras":
        lost = "Keras 3 does not read the .keras files of Keras 2"
    if lost is not None:
        return _load_tf_keras(spec, file, precision, folder, lost)
    try:
        return _load_keras_3(spec, file, precision, folder)
    except ModelError as error:
        if keras_errors.lacks_custom_object(error.__cause__) and not _has_tf_keras():
            raise
        _LOG.info("loading %s with tf_keras, since Keras 3 cannot: %s", spec.path, error)
        reason = keras_errors.first_words(error.__cause__ or error)
        with tempfile.TemporaryDirectory(dir=folder) as second:
            return _load_tf_keras(spec, file, precision, second, reason)


def _load_keras_3(
    spec: ModelSpec, file: KerasFile, precision: str | None, folder: str
) -> KerasModel:
    import keras

    config = modernised(file.config) if file.is_keras_2 else file.config
    if precision is not None:
        config = with_precision(config, precision)
    library = f"Keras {keras.__version__}"
    return _load(spec, file, file_for_keras(file, config, folder), keras, library)


def _has_tf_keras() -> bool:
    return importlib.util.find_spec("tf_keras") is not None


def _load_tf_keras(
    spec: ModelSpec, file: KerasFile, precision: str | None, folder: str, reason: str
) -> KerasModel:
    try:
        import tf_keras
    except ImportError as error:
        raise keras_errors.missing_tf_keras(spec.path, reason) from error
    config = file.config
    if precision is not None:
        config = with_precision(config, precision, keras_2=True)
    library = f"tf_keras {tf_keras.__version__}"
    return _load(spec, file, file_for_keras(file, config, folder), tf_keras, library)


def _load(spec: ModelSpec, file: KerasFile, path: str, keras: Any, library: str) -> KerasModel:
    custom_objects = _custom_objects(spec, file)
    if file.is_keras_2 and not library.startswith("tf_keras"):
        custom_objects.setdefault(OLD_HARD_SIGMOID, _old_hard_sigmoid)
    try:
        model = keras.models.load_model(
            path,
            custom_objects=custom_objects,
            compile=False,
            safe_mode=not spec.trust,
        )
    except ModelError:
        raise
    except Exception as error:
        raise keras_errors.keras_error(file, error, library) from error
    return KerasModel(model, library, spec.path, config_inputs(file))


def _old_hard_sigmoid(inputs: Any) -> Any:
    import keras

    return keras.ops.clip(0.2 * inputs + 0.5, 0.0, 1.0)


def _custom_objects(spec: ModelSpec, file: KerasFile) -> dict[str, Any]:
    """The custom objects by every name that the file has for them.

    A class registered under a package is saved as `package>Name`; `Name` stands for it too.
    """
    found = {
        name: import_object(
            value, f"custom object {name!r}", f"--custom_objects {name}=module:name"
        )
        if isinstance(value, str)
        else value
        for name, value in (spec.custom_objects or {}).items()
    }
    for saved in objects(file.config):
        for name in (saved.get("registered_name"), saved["class_name"]):
            short = name.rpartition(">")[2] if isinstance(name, str) else ""
            if short in found:
                found.setdefault(cast(str, name), found[short])
    return found


def _from_builder(
    spec: ModelSpec, kind: ModelKind, precision: str | None, folder: str
) -> KerasModel:
    builder = spec.builder
    if isinstance(builder, str):
        builder = import_object(builder, "builder", "--builder module:function")
    if kind == "saved_model":
        raise ModelError(
            f"expected a file of weights to go with a builder. Received: {spec.path!r}, a "
            "SavedModel. Leave the builder out, or pass a .weights.h5 file."
        )
    if precision is not None:
        import keras

        keras.config.set_dtype_policy(precision)
    try:
        model = cast(Callable[[], Any], builder)()
    except Exception as error:
        raise ModelError(
            "expected the builder to return a Keras model. Received: "
            f"{keras_errors.first_words(error)}. Call the builder by itself to see why."
        ) from error
    if not (hasattr(model, "load_weights") and hasattr(model, "call")):
        raise ModelError(
            "expected the builder to return a Keras model. "
            f"Received: {type(model).__name__}. Return the model, built and without weights."
        )
    library = _library_of(model)
    if precision is not None and library.startswith("tf_keras"):
        raise ModelError(
            "expected a builder of Keras 3, since a precision was given. Received: a model of "
            f"{library}. Set its dtype policy in the builder."
        )
    suffix = _weights_suffix(spec.path, kind)
    path = linked(spec.path, suffix, folder)
    try:
        model.load_weights(path)
    except Exception as error:
        raise ModelError(
            f"expected weights that fit the builder's model. Received: {spec.path!r}: "
            f"{keras_errors.first_words(error)}. Use the builder that the weights were saved "
            "with; one of a subclassed model must call it once, so that it has weights."
        ) from error
    return KerasModel(model, library, spec.path)


def _library_of(model: Any) -> str:
    if any(base.__module__.startswith("tf_keras.") for base in type(model).__mro__):
        import tf_keras

        return f"tf_keras {tf_keras.__version__}"
    import keras

    return f"Keras {keras.__version__}"


def _weights_suffix(path: str, kind: ModelKind) -> str:
    """The suffix by which Keras tells the layouts of weights apart."""
    if kind == "keras":
        return ".keras"
    import h5py

    with h5py.File(path, "r") as file:
        is_old = kind == "h5" or "layer_names" in file.attrs
    return ".h5" if is_old else ".weights.h5"
