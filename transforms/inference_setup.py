"""What a user asks of an inference, checked before a worker starts."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from apache_beam.internal import pickler

from transforms.arguments import check_arguments, device_names
from transforms.batching import Batching
from transforms.casting import FLOATS
from transforms.conversion import FeatureError
from transforms.elements import Keep
from transforms.engine.model import ModelSpec
from transforms.engine.opening import PredictorConfig
from transforms.engine.read_signature import read_signature
from transforms.engine.replicas import Dispatch
from transforms.engine.signature import Signature, TensorField
from transforms.engine.tuning_store import TuningStore
from transforms.matching import Feed, feed_columns, keep_bytes_narrow, match_columns
from transforms.model_arguments import check_columns, check_outputs, check_precision
from transforms.model_files import fetch_model
from transforms.rows import match_row

if TYPE_CHECKING:
    import pyarrow as pa


@dataclasses.dataclass(frozen=True)
class InferenceSetup:
    """A checked inference; travels to the workers.

    Attributes:
      config: what the engine is opened with.
      parameters: the preprocessing function's column names; None without one.
      spec: fields by column, where the user gave them.
      input_map: column by model input, where names differ.
      keep: columns that go with the predictions.
      in_flight: device batches that a bundle may have under way.
    """

    config: PredictorConfig
    parameters: tuple[str, ...] | None
    spec: Mapping[str, TensorField]
    input_map: Mapping[str, str]
    keep: Keep
    in_flight: int

    @classmethod
    def checked(
        cls,
        model: ModelSpec | str,
        *,
        batching: Batching = Batching(),
        devices: str | Sequence[str] = "all",
        logical_devices: int | None = None,
        preprocess: Any = None,
        input_spec: Mapping[str, Any] | None = None,
        input_map: Mapping[str, str] | None = None,
        keep: Keep = None,
        precision: str | None = None,
        xla: bool = False,
        dispatch: Dispatch = "mirrored",
        tuning_stores: Sequence[TuningStore] = (),
    ) -> InferenceSetup:
        """Checks the arguments of ``MirroredInference`` against each other and the model.

        Args beyond those:
          tuning_stores: where found batch sizes are kept, before the user's own cache; they
            travel to the workers.

        Raises:
          ModelError: the model cannot be read.
          ValueError: an argument is out of range, or does not fit the model.
        """
        if not isinstance(batching, Batching):
            raise ValueError(
                f"expected batching as a Batching. Received: {batching!r}. Pass Batching(rows=…)."
            )
        check_arguments(
            devices=devices,
            logical_devices=logical_devices,
            input_spec=input_spec,
            input_map=input_map,
            keep=keep,
            precision=precision,
            xla=xla,
            dispatch=dispatch,
        )
        spec = ModelSpec.of(model)
        local = dataclasses.replace(spec, path=fetch_model(spec.path))
        signature = read_signature(local, complete=False)
        parameters = None if preprocess is None else _parameters(preprocess)
        fields = {name: _field(name, value) for name, value in (input_spec or {}).items()}
        check_columns(signature, parameters, fields, input_map or {})
        check_precision(local, precision)
        check_outputs(signature)
        config = PredictorConfig(
            model=spec,
            devices=device_names(devices),
            logical_devices=logical_devices,
            preprocess=preprocess,
            preprocess_digest=None if preprocess is None else _digest(preprocess),
            fields=_traced_fields(signature, parameters, fields, input_map or {}),
            precision=precision,
            xla=bool(xla),
            dispatch=dispatch,
            rows=batching.rows,
            max_wait_seconds=batching.max_wait_seconds,
            queue_bytes=batching.max_host_bytes,
            tuning_stores=tuple(tuning_stores),
        )
        return cls(config, parameters, fields, dict(input_map or {}), keep, batching.in_flight)

    def described(self) -> dict[str, Any]:
        """What decides about the results and the speed, as plain values; defaults left out."""
        config = self.config
        values = {
            "model": config.model.path,
            "signature": config.model.signature,
            "devices": config.devices if config.devices == "all" else ", ".join(config.devices),
            "logical_devices": config.logical_devices,
            "preprocess": getattr(config.preprocess, "__name__", None),
            "precision": config.precision,
            "xla": config.xla or None,
            "rows": config.rows,
        }
        return {name: value for name, value in values.items() if value is not None}

    def feeds(self, schema: pa.Schema, signature: Signature) -> tuple[Feed, ...]:
        """Which column of a batch feeds which input, or parameter of the preprocessing.

        Raises:
          FeatureError: a column is missing or cannot fit.
        """
        if self.parameters is None:
            return keep_bytes_narrow(
                match_columns(schema, signature.inputs, self.input_map), schema
            )
        return feed_columns(schema, self.parameters, self.spec)

    def row_kind(self, row: Any, signature: Signature) -> Hashable:
        """What decides how a row given by itself is fed: rows of one kind are fed alike."""
        if not isinstance(row, Mapping):
            return bytes if isinstance(row, bytes) else np.ndarray
        inputs = signature.inputs
        is_named = len(inputs) != 1 or inputs[0].name in row
        if is_named or self.input_map or self.parameters is not None:
            return Mapping
        # A single input may be fed by the one column that fits: which, these columns decide.
        return frozenset(row)

    def row_feeds(
        self, kind: Hashable, rows: Sequence[Any], signature: Signature
    ) -> tuple[Feed, ...] | None:
        """The same for rows of one kind; None where nothing in them fits the single input.

        Raises:
          FeatureError: no row of the kind can fit.
        """
        if self.parameters is not None:
            if kind is not Mapping and len(self.parameters) > 1:
                raise FeatureError(
                    "expected a dict with a value for each parameter of preprocess "
                    f"{', '.join(self.parameters)}. Received: {type(rows[0]).__name__}. "
                    "Make each row a dict."
                )
            return tuple(Feed(name, name, self.spec.get(name)) for name in self.parameters)
        if kind is Mapping:
            return self.feeds_by_name(signature)
        if kind is np.ndarray and len(signature.inputs) == 1:
            (field,) = signature.inputs
            return (Feed(field.name, field.name, field),)
        if kind in (bytes, np.ndarray):
            return match_row(rows[0], signature.inputs, self.input_map)
        # What is null might fit as well: rows that are whole decide, where there are any.
        whole = [row for row in rows if all(value is not None for value in row.values())]
        for row in whole or rows:
            with contextlib.suppress(FeatureError):
                return match_row(row, signature.inputs)
        return None

    def feeds_by_name(self, signature: Signature) -> tuple[Feed, ...]:
        """Each input from the column of its name, or of the name it is mapped to."""
        return tuple(
            Feed(self.input_map.get(field.name, field.name), field.name, field)
            for field in signature.inputs
        )


def _parameters(preprocess: Any) -> tuple[str, ...]:
    if not callable(preprocess):
        raise ValueError(
            f"expected preprocess as a function of columns. Received: {type(preprocess).__name__}."
        )
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(preprocess).parameters.values()
    other = [parameter.name for parameter in parameters if parameter.kind not in named]
    names = tuple(
        parameter.name
        for parameter in parameters
        if parameter.kind in named and parameter.default is inspect.Parameter.empty
    )
    if other or not names:
        raise ValueError(
            "expected preprocess with parameters that are column names. "
            f"Received: {inspect.signature(preprocess)}. Name each column that it takes."
        )
    return names


def _digest(preprocess: Any) -> str:
    digest = getattr(preprocess, "digest", None)
    return (
        digest if isinstance(digest, str) else hashlib.sha256(pickler.dumps(preprocess)).hexdigest()
    )


def _field(column: str, spec: Any) -> TensorField:
    if not hasattr(spec, "shape") or not hasattr(spec, "dtype"):
        raise ValueError(
            f"expected input_spec[{column!r}] as a tf.TensorSpec without the row dimension. "
            f"Received: {type(spec).__name__}."
        )
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorField(column, spec.dtype.name, shape)


def _traced_fields(
    signature: Signature,
    parameters: tuple[str, ...] | None,
    spec: Mapping[str, TensorField],
    input_map: Mapping[str, str],
) -> tuple[TensorField, ...] | None:
    if not spec:
        return None
    if parameters is None:
        return tuple(
            _narrowed(field, spec.get(input_map.get(field.name, field.name)))
            for field in signature.inputs
        )
    if any(name not in spec for name in parameters):
        return None
    return tuple(spec[name] for name in parameters)


def _narrowed(field: TensorField, stored: TensorField | None) -> TensorField:
    """A model's input as its column will feed it, where that is known to be narrower."""
    if stored is None:
        return field
    dtype = "uint8" if stored.dtype == "uint8" and field.dtype in FLOATS else field.dtype
    shape = field.shape
    if shape is None:
        shape = stored.shape
    elif stored.shape is not None and len(shape) == len(stored.shape):
        shape = tuple(
            known if size is None else size for size, known in zip(shape, stored.shape, strict=True)
        )
    return TensorField(field.name, dtype, shape)
