"""From a SavedModel to something that every replica can call."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from transforms.engine.keras_errors import first_words
from transforms.engine.mirroring import copies, recorded_variables, unmirrored, variables_bytes
from transforms.engine.model import ModelError
from transforms.engine.saved_devices import copy_without_devices, hard_coded_devices
from transforms.engine.saved_model import Endpoint, SavedModelFile, reference_variables_bytes

_LOG = logging.getLogger(__name__)
NamedCall = Callable[[Mapping[str, Any]], dict[str, Any]]


class LoadedSavedModel:
    """A SavedModel with a copy of its variables for each replica.

    Attributes:
      mirrored: one model whose variables are mirrored; else one model per device.
      replica_variables: the variables of each replica.
      variable_count: how many there are, with those that are operations of an old graph.
      bytes_per_device: what they take.
      notes: what had to be done to load it, in the words of a log line.
    """

    def __init__(self, file: SavedModelFile, endpoint: Endpoint, strategy: Any):
        """Loads it in the strategy's scope, and once per device where that mirrors nothing.

        Raises:
          ModelError: TensorFlow cannot load it.
        """
        self._endpoint = endpoint
        self._file = file
        self.notes: list[str] = []
        # Assets are read from here as long as the model lives.
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._path = file.path
        if pinned := hard_coded_devices(file):
            self._folder = tempfile.TemporaryDirectory(prefix="mirrorbeam-")
            self._path = copy_without_devices(file, self._folder.name)
            self.notes.append(f"the devices it was saved with ({', '.join(pinned)}) are left out")
        devices = tuple(strategy.extended.worker_devices)
        self._models: list[Any] = []
        self._calls: list[NamedCall] = []
        self.replica_variables: tuple[tuple[Any, ...], ...] = ()
        self.mirrored = not file.is_tf1 and self._load_mirrored(strategy, devices)
        if not self.mirrored:
            self._load_per_device(devices)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Calls it in a replica; gives the signature's outputs in order."""
        import tensorflow as tf

        replica = 0
        if len(self._calls) > 1:
            context = tf.distribute.get_replica_context()
            replica = int(tf.get_static_value(context.replica_id_in_sync_group))
        outputs = self._calls[replica](inputs)
        return {field.name: outputs[field.name] for field in self._endpoint.signature.outputs or ()}

    def _load_mirrored(self, strategy: Any, devices: tuple[str, ...]) -> bool:
        try:
            with strategy.scope(), recorded_variables() as variables:
                model = self._load()
        except ModelError as error:
            _LOG.info("loading one copy per device, since mirroring failed: %s", error)
            return False
        plain = unmirrored(variables, devices)
        if plain:
            _LOG.info("loading one copy per device, since these are not mirrored: %s", plain)
            return False
        self._add(model)
        self._count(copies(variables, len(devices)), [])
        return True

    def _load_per_device(self, devices: tuple[str, ...]) -> None:
        import tensorflow as tf

        variables = []
        for device in devices:
            with tf.device(device), recorded_variables() as made:
                model = self._load()
            self._add(model)
            # Those of TensorFlow 1 are made without asking anybody: the model lists them.
            variables.append(tuple(made or getattr(model, "variables", [])))
        old = reference_variables_bytes(self._file.graph) if self._file.is_tf1 else []
        self._count(tuple(variables), old)

    def _add(self, model: Any) -> None:
        self._models.append(model)
        self._calls.append(self._call_of(model))

    def _count(self, variables: tuple[tuple[Any, ...], ...], old_bytes: list[int]) -> None:
        self.replica_variables = variables
        self.variable_count = len(variables[0]) + len(old_bytes)
        self.bytes_per_device = variables_bytes(variables[0]) + sum(old_bytes)

    def _load(self) -> Any:
        """Loads it as it is, and with the classes of tf_keras where it cannot do without."""
        import tensorflow as tf

        tags = self._file.tags if self._file.is_tf1 else None
        try:
            return tf.saved_model.load(self._path, tags=tags)
        except Exception as error:
            if not _import_tf_keras():
                remedy = "Run pip install mirrorbeam[legacy], which some models of Keras 2 need"
                raise self._error(error, remedy) from error
        try:
            model = tf.saved_model.load(self._path, tags=tags)
        except Exception as error:
            raise self._error(error, "Save it again with this TensorFlow") from error
        self.notes.append("it needs the classes of tf_keras")
        return model

    def _error(self, error: Exception, remedy: str) -> ModelError:
        return ModelError(
            "expected a SavedModel that TensorFlow can load. "
            f"Received: {self._file.path!r}: {first_words(error)}. {remedy}."
        )

    def _call_of(self, model: Any) -> NamedCall:
        function = self._endpoint.function
        if function is not None:
            return lambda inputs: function(model, inputs)
        signature = model.signatures[self._endpoint.signature.name]
        return lambda inputs: signature(**inputs)


def _import_tf_keras() -> bool:
    """Registers the classes of Keras 2 with TensorFlow's loader; False where there are none."""
    try:
        import tf_keras  # noqa: F401
    except ImportError:
        return False
    return True
