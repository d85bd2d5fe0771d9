"""The one traced function: a slice per replica in, named outputs per replica out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from transforms.engine.errors import SetupError, describe
from transforms.engine.host_tensors import to_tensor
from transforms.engine.operation_kinds import operation_names
from transforms.engine.preprocessing import Preprocess, preprocessed, with_autograph
from transforms.engine.replicas import DeviceError, Replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.slicing import Columns
from transforms.engine.stage_times import HOST_TO_DEVICE, STAGE_TIMES

if TYPE_CHECKING:
    import tensorflow as tf


_tracing = threading.Lock()

Tensors = dict[str, "tf.Tensor"]


class CallableModel(Protocol):
    """What a step needs of a loaded model."""

    signature: Signature

    def __call__(self, inputs: Tensors) -> Tensors:
        """Named outputs for named inputs, in replica context."""


class Step:
    """Preprocessing and model in one ``tf.function`` over all replicas.

    The input signature is fixed, with a free row dimension, so that no batch size
    traces again. Host tensors are made on the CPU: each replica's slice then goes to
    its own device once.

    Attributes:
      fields: the columns of a batch.
      outputs: what each replica gives.
      traces: how often a replica's part was traced.
      is_compiled: whether XLA compiles it, once for each batch size.
      function: the traced ``ConcreteFunction``, of the fields of each slice one after another.
    """

    def __init__(
        self,
        model: CallableModel,
        replicas: Replicas,
        fields: Sequence[TensorField],
        *,
        preprocess: Preprocess | None = None,
        xla: bool = False,
    ) -> None:
        """Traces the step.

        Args:
          model: loaded in the strategy's scope.
          replicas: where it runs.
          fields: the columns that a batch has; the model's inputs, or the parameters of
            `preprocess`. Unknown dimensions stay free in the trace; an input of another dtype
            is cast on the device.
          preprocess: a function of tensors by column name; traced into the step.
          xla: compile. Each batch size is compiled once; only for fixed shapes.

        Raises:
          SetupError: the trace failed, or the model's outputs cannot be named columns.
          DeviceError: XLA with several logical CPUs, which it cannot address.
        """
        if xla and replicas.in_all > 1 and replicas.kind == "CPU":
            raise DeviceError(
                f"expected one CPU device with xla=True. Received: {replicas.in_all} logical CPUs. "
                "XLA on the CPU runs on CPU:0 only; pass devices=('CPU:0',) or xla=False."
            )
        self.fields = tuple(fields)
        self.is_compiled = xla
        self._model = model
        self._replicas = replicas
        self._preprocess = with_autograph(preprocess) if preprocess else None
        self._traces_lock = threading.Lock()
        self.traces = 0
        self._output_names: tuple[str, ...] = ()
        # The trace itself: the function that it is of would look it up anew for every batch.
        self.function = self._trace()
        self._shares_memory = not _writes_variables(self.function)
        self.outputs = self._output_fields()

    def __call__(self, slices: Sequence[Columns]) -> list[Tensors]:
        """Runs one batch.

        Args:
          slices: one per replica, none without rows.

        Returns:
          Named tensors per replica. On a GPU they may still be under way.
        """
        import tensorflow as tf

        with self._replicas.exclusive(), tf.device("/CPU:0"):
            with STAGE_TIMES.stage(HOST_TO_DEVICE):
                tensors = [
                    to_tensor(columns[field.name], share=self._shares_memory)
                    for columns in slices
                    for field in self.fields
                ]
            try:
                outputs = self.function(*tensors)
            except tf.errors.InvalidArgumentError as error:
                if self.is_compiled and "unsupported operations" in str(error):
                    raise SetupError(
                        "expected a model that XLA can compile. Received: "
                        f"{describe(error).message.splitlines()[0]}. Leave out xla=True, or --xla."
                    ) from error
                raise
        return self._parted(self._output_names, outputs)

    def _parted(self, names: Sequence[str], tensors: Sequence[tf.Tensor]) -> list[Tensors]:
        """Tensors of one replica after another, by name for each."""
        each = len(names)
        return [
            dict(zip(names, tensors[index * each : (index + 1) * each], strict=True))
            for index in range(self._replicas.count)
        ]

    def _build(self) -> Any:
        import tensorflow as tf

        names = [field.name for field in self.fields]
        specs = [
            tf.TensorSpec(
                None if field.shape is None else [None, *field.shape], tf.as_dtype(field.dtype)
            )
            for field in self.fields
        ]
        is_apart = self.is_compiled or self._replicas.count < self._replicas.in_all
        on_all = self._one_by_one if is_apart else self._mirrored

        @tf.function(input_signature=specs * self._replicas.count, autograph=False)
        def step(*tensors: tf.Tensor) -> list[tf.Tensor]:
            outputs = on_all(self._parted(names, tensors))
            return [replica[name] for replica in outputs for name in self._output_names]

        return step

    def _mirrored(self, slices: list[Tensors]) -> list[Tensors]:
        strategy = self._replicas.strategy
        per_replica = {
            field.name: strategy.experimental_distribute_values_from_function(
                lambda context, name=field.name: slices[context.replica_id_in_sync_group][name]
            )
            for field in self.fields
        }
        outputs = strategy.run(self._on_one_replica, args=(per_replica,))
        local = {
            name: strategy.experimental_local_results(value) for name, value in outputs.items()
        }
        return [
            {name: values[index] for name, values in local.items()} for index in range(len(slices))
        ]

    def _one_by_one(self, slices: list[Tensors]) -> list[Tensors]:
        import tensorflow as tf

        outputs = []
        for index, columns in enumerate(slices):
            function: Callable[[Tensors], Tensors] = self._on_one_replica
            if self.is_compiled:
                function = tf.function(function, jit_compile=True, autograph=False)
            with self._replicas.alone(index):
                outputs.append(function(columns))
        return outputs

    def _on_one_replica(self, columns: Tensors) -> Tensors:
        outputs = self._predict(columns)
        with self._traces_lock:
            self.traces += 1
            self._output_names = tuple(outputs)
        return outputs

    def _predict(self, columns: Tensors) -> Tensors:
        import tensorflow as tf

        rows = tf.shape(next(iter(columns.values())))[0]
        if self._preprocess is None:
            inputs = self._cast(columns)
        else:
            wanted = self._model.signature.inputs
            inputs = preprocessed(self._preprocess, columns, self.fields, wanted)
        outputs = self._model(inputs)
        for name, value in outputs.items():
            if not isinstance(value, tf.Tensor):
                raise SetupError(
                    f"expected output {name!r} as a dense tensor. Received: "
                    f"{type(value).__name__}. Make it dense in the model, as with to_tensor()."
                )
        # An output without a row dimension is the same for every row.
        return {
            name: tf.repeat(value[tf.newaxis], rows) if value.shape.rank == 0 else value
            for name, value in outputs.items()
        }

    def _cast(self, columns: Tensors) -> Tensors:
        import tensorflow as tf

        # Narrow columns travel as they are stored and widen on the device.
        return {
            field.name: tf.cast(columns[field.name], field.dtype)
            if columns[field.name].dtype.name != field.dtype
            else columns[field.name]
            for field in self._model.signature.inputs
        }

    def _output_fields(self) -> tuple[TensorField, ...]:
        tensors = self.function.structured_outputs[: len(self._output_names)]
        return tuple(
            _field_of(name, tensor)
            for name, tensor in zip(self._output_names, tensors, strict=True)
        )

    def _trace(self) -> Any:
        try:
            # Layers keep what they are just doing: two threads would mix it up.
            with _tracing:
                return self._build().get_concrete_function()
        except (SetupError, DeviceError):
            raise
        except Exception as error:
            described = ", ".join(f"{field.name}: {field}" for field in self.fields)
            raise SetupError(
                f"expected the model to take {described}. Received from TensorFlow while tracing "
                f"it{' and the preprocessing' if self._preprocess else ''}: "
                f"{type(error).__name__}: {error}"
            ) from error


def check_rows(outputs: Mapping[str, Any], rows: int) -> None:
    """Whether what a replica gave for some rows has an entry for each.

    Raises:
      SetupError: it has not.
    """
    for name, values in outputs.items():
        if tuple(values.shape[:1]) != (rows,):
            raise SetupError(
                f"expected output {name!r} with one entry for each row. Received: shape "
                f"{list(values.shape)} for {rows} rows. "
                "Only models, and preprocessing, that work row by row can be run."
            )


def _writes_variables(function: Any) -> bool:
    """Whether the model keeps state: a variable may take an input's memory over."""
    names = operation_names(function.graph.as_graph_def())
    return any(name.startswith("Assign") for name in names)


def _field_of(name: str, tensor: Any) -> TensorField:
    if tensor.shape.rank is None:
        return TensorField(name, tensor.dtype.name, None)
    if tensor.shape[0] is not None:
        raise SetupError(
            f"expected output {name!r} with one entry for each row. Received: shape "
            f"{tensor.shape.as_list()} however many rows there are. "
            "Only models that score row by row can be run."
        )
    return TensorField(name, tensor.dtype.name, tuple(tensor.shape.as_list()[1:]))
