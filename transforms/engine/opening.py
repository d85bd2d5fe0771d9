"""From what a user asked for to a predictor that this process owns."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Hashable
from typing import TYPE_CHECKING, Literal, cast

from transforms.engine import garbage
from transforms.engine.group_queue import default_queue_bytes
from transforms.engine.host_allocator import keep_freed_memory
from transforms.engine.preprocessing import Preprocess
from transforms.engine.registry import PREDICTORS, Lease
from transforms.engine.replicas import Dispatch
from transforms.engine.signature import TensorField
from transforms.engine.tuning_store import (
    TuningStore,
    load_rows,
    predictor_tuning_key,
    save_rows,
    user_store,
)

if TYPE_CHECKING:
    from transforms.engine.model import ModelSpec
    from transforms.engine.predictor import Predictor

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PredictorConfig:
    """Everything that makes one predictor differ from another.

    Attributes:
      model: the file, on a local path.
      devices: `all`, or device names.
      logical_devices: logical devices of each physical one; None leaves them as they are.
      preprocess: a function of tensors by column name, traced into the step.
      preprocess_digest: tells one preprocessing from another; functions do not compare.
      fields: the columns a batch has; None where the model or the first batch says it.
      precision: Keras dtype policy to load with.
      xla: compile the step.
      dispatch: one step over all devices in lock step, or one for each by itself.
      rows: the global batch, or `auto`.
      max_wait_seconds: longest time to hold rows back to fill a batch.
      queue_bytes: bytes of input that may be under way; None goes by the host's free memory and
        the number of GPUs.
      tuning_stores: where found batch sizes are kept; no part of what tells predictors apart.
    """

    model: ModelSpec
    devices: Literal["all"] | tuple[str, ...] = "all"
    logical_devices: int | None = None
    preprocess: Preprocess | None = None
    preprocess_digest: str | None = None
    fields: tuple[TensorField, ...] | None = None
    precision: str | None = None
    xla: bool = False
    dispatch: Dispatch = "mirrored"
    rows: int | Literal["auto"] = "auto"
    max_wait_seconds: float | None = None
    queue_bytes: int | None = None
    tuning_stores: tuple[TuningStore, ...] = dataclasses.field(default=(), compare=False)

    def key(self, model_digest: str) -> Hashable:
        """What two configurations share when one predictor can serve both."""
        return (
            model_digest,
            self.model.signature,
            self.devices,
            self.logical_devices,
            self.preprocess_digest,
            self.fields,
            self.precision,
            self.xla,
            self.dispatch,
            self.rows,
            self.max_wait_seconds,
            self.queue_bytes,
        )


def open_predictor(config: PredictorConfig) -> Lease:
    """The process's predictor for this configuration; loads the model if nobody has.

    Raises:
      ModelError: the model cannot be loaded.
      DeviceError: the devices are not there.
      SetupError: model, preprocessing and fields do not fit together.
    """
    from transforms.engine.model import model_digest

    digest = model_digest(config.model)
    return PREDICTORS.acquire(config.key(digest), lambda: _build(config, digest))


def predictor_of(lease: Lease) -> Predictor:
    """The lease's predictor, by its type."""
    return cast("Predictor", lease.predictor)


def _build(config: PredictorConfig, digest: str) -> Predictor:
    from transforms.engine.loading import load_model
    from transforms.engine.predictor import Predictor
    from transforms.engine.replicas import open_replicas

    keep_freed_memory()
    garbage.thaw()
    replicas = open_replicas(config.devices, config.logical_devices)
    model = load_model(config.model, replicas.strategy, precision=config.precision)
    _LOG.info("%s: %s", config.model.path, model.how)
    fields = config.fields
    if fields is None and config.preprocess is None:
        fields = model.signature.inputs
    key = predictor_tuning_key(config, digest, model.signature.inputs, replicas)
    stores = (*config.tuning_stores, user_store())
    is_auto = config.rows == "auto"
    gpus = replicas.count if replicas.kind == "GPU" else 0
    predictor = Predictor(
        model,
        replicas,
        fields=fields,
        preprocess=config.preprocess,
        rows=config.rows,
        max_wait_seconds=config.max_wait_seconds,
        queue_bytes=config.queue_bytes or default_queue_bytes(gpus),
        xla=config.xla,
        dispatch=config.dispatch,
        tuned_rows=load_rows(stores, key) if is_auto else None,
        on_tuned=lambda sizer: save_rows(
            stores, key, sizer.found_rows, sizer.tuner.measured if sizer.tuner else ()
        ),
    )
    garbage.freeze()
    return predictor
