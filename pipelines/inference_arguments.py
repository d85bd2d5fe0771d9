"""What decides about an inference, from a command's options and what is fed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pipelines.errors import CommandError
from pipelines.feeding import Feeding
from pipelines.model_reading import Model
from pipelines.options import InferenceOptions, ScoreOptions
from pipelines.tuning_folder import OutputTuningStore
from transforms.batching import Batching
from transforms.engine.opening import open_predictor
from transforms.engine.registry import Lease
from transforms.inference_setup import InferenceSetup

if TYPE_CHECKING:
    import tensorflow as tf


# Of --max_host_memory, input under way. What it and the open parts leave is for reading.
_QUEUE_SHARE = 2


def score_arguments(options: ScoreOptions, feeding: Feeding) -> dict[str, Any]:
    """What `PredictBlocks` takes beside the model."""
    memory = options.max_host_memory
    queue_bytes = None if memory is None else max(1, memory // _QUEUE_SHARE)
    return inference_arguments(options, feeding) | {
        "batching": Batching(rows=options.batch_size, max_host_bytes=queue_bytes),
        "tuning_stores": (OutputTuningStore(options.output),),
    }


def inference_arguments(options: InferenceOptions, feeding: Feeding) -> dict[str, Any]:
    """What decides about an inference, as `InferenceSetup.checked` takes it beside the model."""
    return {
        "devices": options.devices,
        "logical_devices": options.logical_devices,
        "preprocess": feeding.preprocess,
        "input_spec": _tensor_specs(feeding),
        "input_map": _input_map(feeding),
        "keep": list(feeding.kept),
        "precision": options.precision,
        "xla": options.xla,
        "dispatch": options.dispatch,
    }


def open_model(model: Model, arguments: dict[str, Any]) -> Lease:
    """Loads, traces and warms up what the threads of this process will use.

    Raises:
      CommandError: the arguments do not go with the model.
    """
    try:
        setup = InferenceSetup.checked(model.spec, **arguments)
    except ValueError as error:
        raise CommandError(" ".join(str(error).split())) from error
    return open_predictor(dataclasses.replace(setup.config, model=model.local))


def _input_map(feeding: Feeding) -> dict[str, str]:
    if feeding.preprocess is not None:
        return {}
    return {feed.name: feed.column for feed in feeding.feeds if feed.name != feed.column}


def _tensor_specs(feeding: Feeding) -> dict[str, tf.TensorSpec]:
    import tensorflow as tf

    return {
        column: tf.TensorSpec(field.shape, tf.as_dtype(field.dtype))
        for column, field in feeding.spec.items()
    }
