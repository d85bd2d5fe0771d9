"""Inference on every local device as a Beam transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from transforms import coders as _coders  # noqa: F401  registers the coders of what flows here
from transforms.batching import Batching, BatchRows
from transforms.block import Block
from transforms.elements import Keep
from transforms.inference_dofn import FAILURES, MirroredInferenceDoFn
from transforms.inference_setup import InferenceSetup

if TYPE_CHECKING:
    import tensorflow as tf

    from transforms.engine.model import ModelSpec
    from transforms.engine.replicas import Dispatch

PREDICTIONS = "predictions"


class InferenceResult(NamedTuple):
    """What ``MirroredInference`` gives.

    Attributes:
      predictions: the scored elements.
      failures: dicts `{source, row, stage, error, message, data}`, one for each row that has
        no prediction.
    """

    predictions: beam.PCollection
    failures: beam.PCollection


class MirroredInference(beam.PTransform):
    """Scores elements with a model that is mirrored over all local devices.

    One model is loaded per worker process, whatever the number of threads and stages, and
    every batch is cut into one slice per device.

    Elements and what becomes of them:

    * ``pyarrow.RecordBatch`` or ``Table``: its rows; `.predictions` has the same type, with
      the good rows in order, kept columns first, then the outputs.
    * ``dict`` of values, ``numpy.ndarray`` without a batch dimension, ``bytes``: one row;
      `.predictions` has dicts of kept inputs and outputs as NumPy values.

    A row that cannot be converted or predicted becomes one element of `.failures`; the others
    of its batch are predicted.
    """

    def __init__(
        self,
        model: ModelSpec | str,
        *,
        batching: Batching = Batching(),
        devices: str | Sequence[str] = "all",
        logical_devices: int | None = None,
        preprocess: Any = None,
        input_spec: Mapping[str, tf.TensorSpec] | None = None,
        input_map: Mapping[str, str] | None = None,
        keep: Keep = None,
        precision: str | None = None,
        xla: bool = False,
        dispatch: Dispatch = "mirrored",
    ) -> None:
        """Reads the model's signature and refuses what does not fit.

        Args:
          model: a path, or a ``ModelSpec`` where a path does not say enough.
          batching: rows per batch. The default follows the bytes of a row.
          devices: `all`, or names such as ``GPU:0``. Fewer leave room for other work.
          logical_devices: cut each device into this many; for tests and for small models.
          preprocess: ``f(column, …) -> tensor or dict of inputs``; the parameters are column
            names, each comes as a tensor `[n, …]`. Traced into the step: it runs on the device.
          input_spec: ``{column: tf.TensorSpec}`` without the row dimension. Without it a model
            with `preprocess` is traced on its first batch, inside the running job.
          input_map: ``{model input: column}`` where names differ.
          keep: columns that go with the predictions: names, `all` or `none`. Default: every
            column that the model does not consume.
          precision: Keras dtype policy to load with; `mixed_bfloat16` is faster on recent GPUs
            and changes results.
          xla: compile the step; pays off for long jobs with fixed shapes.
          dispatch: `mirrored` runs every batch on all devices in lock step; `independent` lets
            each device take its part of a batch when it is done with its last, so that a slow
            one holds no other.

        Raises:
          ModelError: the model cannot be read.
          ValueError: an argument is out of range, or does not fit the model.
        """
        super().__init__()
        self._batching = batching
        self._setup = InferenceSetup.checked(
            model,
            batching=batching,
            devices=devices,
            logical_devices=logical_devices,
            preprocess=preprocess,
            input_spec=input_spec,
            input_map=input_map,
            keep=keep,
            precision=precision,
            xla=xla,
            dispatch=dispatch,
        )

    def display_data(self) -> dict[str, Any]:
        """What a runner's monitoring shows."""
        return self._setup.described()

    def expand(self, elements: beam.PCollection) -> InferenceResult:
        """Groups, infers, and parts the failures from the predictions."""
        outputs = (
            elements
            | "BatchRows" >> BatchRows(self._batching)
            | "Infer"
            >> beam.ParDo(MirroredInferenceDoFn(self._setup)).with_outputs(
                FAILURES, main=PREDICTIONS
            )
        )
        predictions, failures = outputs[PREDICTIONS], outputs[FAILURES]
        tables = (pa.RecordBatch, pa.Table)
        predictions.element_type = elements.element_type if elements.element_type in tables else Any
        failures.element_type = dict[str, Any]
        return InferenceResult(predictions, failures)


class PredictBlocks(beam.PTransform):
    """Scores blocks: one stream of predictions, failures and counts, in order.

    For pipelines that account for every row of a split; takes ``MirroredInference``'s arguments,
    and `tuning_stores`, where the batch sizes that workers find are kept.
    """

    def __init__(self, model: ModelSpec | str, **options: Any) -> None:
        super().__init__()
        self._batching = options.setdefault("batching", Batching())
        self._setup = InferenceSetup.checked(model, **options)

    def expand(self, blocks: beam.PCollection) -> beam.PCollection:
        """Groups and infers."""
        return (
            blocks
            | "BatchRows" >> BatchRows(self._batching)
            | "Infer" >> beam.ParDo(MirroredInferenceDoFn(self._setup)).with_output_types(Block)
        )
