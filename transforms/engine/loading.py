"""Loads a model so that every replica of a strategy has its own copy of the variables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transforms.engine.keras_loading import build_keras_model
from transforms.engine.mirroring import copies, recorded_variables, unmirrored, variables_bytes
from transforms.engine.model import ModelError, ModelKind, ModelSpec, model_kind
from transforms.engine.saved_loading import LoadedSavedModel
from transforms.engine.saved_model import endpoint, read_saved_model
from transforms.engine.signature import Signature


class LoadedModel:
    """A model that replicas can call, by names.

    Attributes:
      signature: its inputs and outputs.
      mirrored: one model whose variables have a copy on every device; False where there is
        one whole model per device instead.
      replica_variables: for each replica the variables on its device.
      bytes_per_device: what they take there.
      how: one sentence on what was loaded and how it got onto the devices.
    """

    def __init__(
        self,
        call: Callable[[Mapping[str, Any]], dict[str, Any]],
        signature: Signature,
        *,
        mirrored: bool,
        replica_variables: tuple[tuple[Any, ...], ...],
        bytes_per_device: int,
        how: str,
    ):
        self._call = call
        self.signature = signature
        self.mirrored = mirrored
        self.replica_variables = replica_variables
        self.bytes_per_device = bytes_per_device
        self.how = how

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the model on one replica's rows, in inference.

        To be called in a replica: within `strategy.run` within a `tf.function`.

        Args:
          inputs: a tensor `[rows, ...]` for each input of the signature.

        Returns:
          A tensor for each output of the signature, in its order. One without dimensions
          stays so.
        """
        return self._call(inputs)


def load_model(spec: ModelSpec, strategy: Any, *, precision: str | None = None) -> LoadedModel:
    """Loads a model onto the devices of a strategy.

    Args:
      spec: which model.
      strategy: a `tf.distribute.MirroredStrategy`.
      precision: dtype policy for the layers of a Keras model; None keeps the model's own.

    Raises:
      ModelError: the model cannot be loaded, or not like this.
    """
    kind = model_kind(spec.path)
    check_kind(spec, kind, precision)
    if kind == "saved_model":
        return _load_saved_model(spec, strategy)
    return _load_keras(spec, kind, strategy, precision)


def check_kind(spec: ModelSpec, kind: ModelKind, precision: str | None) -> None:
    """Raises ModelError where the rest of a spec does not go with what its file is."""
    if kind == "saved_model":
        if precision is not None:
            raise ModelError(
                f"expected a Keras file, since a precision ({precision}) was given. "
                f"Received: {spec.path!r}, a SavedModel, which computes as it was saved. Leave "
                "--precision out, or export the model with the precision that you want."
            )
        if spec.builder is not None:
            raise ModelError(
                "expected a file of weights to go with the builder. "
                f"Received: {spec.path!r}, a SavedModel. Leave --builder out, or pass weights."
            )
        return
    if spec.signature is not None:
        raise ModelError(
            f"expected a SavedModel, since a signature ({spec.signature}) was given. Received: "
            f"{spec.path!r}, a Keras file, which has none. Leave --signature out."
        )
    if kind == "weights" and spec.builder is None:
        raise ModelError(
            f"expected a whole model. Received: {spec.path!r}, which holds weights alone. Pass "
            "--builder module:function with what makes the model that they belong to."
        )


def _load_saved_model(spec: ModelSpec, strategy: Any) -> LoadedModel:
    file = read_saved_model(spec.path)
    way = endpoint(file, spec.signature)
    model = LoadedSavedModel(file, way, strategy)
    replicas = strategy.num_replicas_in_sync
    what = f"SavedModel, {way.signature.name}: "
    if model.mirrored:
        what += _mirrored(model.variable_count, replicas, model.bytes_per_device)
    else:
        why = "of TensorFlow 1" if file.is_tf1 else "one whose variables do not mirror"
        what += (
            f"one copy of the model on each device, {replicas} in all, since it is {why}; "
            f"variables: {model.variable_count}, {model.bytes_per_device:,} bytes per device"
        )
    return LoadedModel(
        model,
        way.signature,
        mirrored=model.mirrored,
        replica_variables=model.replica_variables,
        bytes_per_device=model.bytes_per_device,
        how="; ".join([what, *model.notes]),
    )


def _load_keras(
    spec: ModelSpec, kind: ModelKind, strategy: Any, precision: str | None
) -> LoadedModel:
    variables: list[Any] = []

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        with strategy.scope(), recorded_variables() as made:
            yield
            variables.extend(made)

    model = build_keras_model(spec, kind, precision=precision, scope=scope)
    plain = unmirrored(variables, tuple(strategy.extended.worker_devices))
    if plain:
        raise ModelError(
            "expected every variable of the model to have a copy on each device. Received: "
            f"{spec.path!r}, whose {', '.join(plain[:5])} have none. Make the model's variables "
            "with add_weight or tf.Variable in its layers, or export it as a SavedModel."
        )
    size_bytes = variables_bytes(variables)
    written_in = f", {precision}" if precision is not None else ""
    mirrored = _mirrored(len(variables), strategy.num_replicas_in_sync, size_bytes)
    return LoadedModel(
        model,
        model.signature,
        mirrored=True,
        replica_variables=copies(variables, strategy.num_replicas_in_sync),
        bytes_per_device=size_bytes,
        how=f"{model.library}{written_in}: {mirrored}",
    )


def _mirrored(variable_count: int, replicas: int, size_bytes: int) -> str:
    return (
        f"variables mirrored on every device, {replicas} in all; "
        f"variables: {variable_count}, {size_bytes:,} bytes per device"
    )
