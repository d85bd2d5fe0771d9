"""The batch size of a model for this process's devices, without a pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from transforms.arguments import check_devices, device_names
from transforms.engine.model import ModelSpec
from transforms.engine.opening import PredictorConfig, open_predictor, predictor_of
from transforms.engine.slicing import Columns
from transforms.engine.sweep import Sweep, sweep
from transforms.features import columns_to_arrays
from transforms.matching import keep_bytes_narrow, match_columns
from transforms.model_files import fetch_model
from transforms.rows import match_row, rows_to_arrays

if TYPE_CHECKING:
    from transforms.engine.signature import Signature


def determine_optimal_batch_size(
    model: ModelSpec | str, dataset_sample: Any, devices: str | Sequence[str] = "all"
) -> int:
    """Measures the smallest global batch within two percent of the best rate.

    Takes seconds to a minute. The devices must be idle for the answer to mean something.

    Args:
      model: a path, or a ``ModelSpec``.
      dataset_sample: a few rows as they will come: a ``RecordBatch``, a dict of arrays by
        input name, or an array for a model with one input, each with its row dimension; or a
        list of dicts, arrays or bytes, each one row.
      devices: `all`, or device names.

    Returns:
      Rows of the global batch, a multiple of the number of devices.

    Raises:
      ModelError: the model cannot be loaded.
      FeatureError: the sample does not fit the model.
      DeviceError: the devices are not there.
    """
    check_devices(devices)
    spec = ModelSpec.of(model)
    local = dataclasses.replace(spec, path=fetch_model(spec.path))
    config = PredictorConfig(local, device_names(devices))
    return sweep_sample(config, dataset_sample, seconds=30.0).chosen


def sweep_sample(config: PredictorConfig, sample: Any, *, seconds: float) -> Sweep:
    """Opens a predictor and measures batch sizes on rows of a sample."""
    lease = open_predictor(config)
    try:
        predictor = predictor_of(lease)
        return sweep(predictor, sample_columns(sample, predictor.signature), seconds=seconds)
    finally:
        lease.release()


def sample_columns(sample: Any, signature: Signature) -> Columns:
    """The sample's good rows as the model's inputs; of the commonest shape, where there are more.

    Raises:
      FeatureError: the sample's columns do not fit.
      ValueError: none of its rows does.
      TypeError: it is no sample.
    """
    if isinstance(sample, (pa.RecordBatch, pa.Table)):
        matched = match_columns(sample.schema, signature.inputs)
        conversion = columns_to_arrays(sample, keep_bytes_narrow(matched, sample.schema))
    else:
        rows = _rows(sample)
        if not rows:
            raise ValueError("expected a sample with rows that fit the model. Received: no rows")
        conversion = rows_to_arrays(rows, match_row(rows[0], signature.inputs))
    if not conversion.groups:
        reason = conversion.errors[0].message if conversion.errors else "no rows"
        raise ValueError(f"expected a sample with rows that fit the model. Received: {reason}")
    return max(conversion.groups, key=lambda group: len(next(iter(group.arrays.values())))).arrays


def _rows(sample: Any) -> list[Any]:
    if isinstance(sample, Mapping):
        names = list(sample)
        columns = [np.asarray(sample[name]) for name in names]
        lengths = [len(column) if column.ndim else None for column in columns]
        if None in lengths or len(set(lengths)) > 1:
            received = ", ".join(
                f"{name}: {list(column.shape)}" for name, column in zip(names, columns, strict=True)
            )
            raise ValueError(
                "expected a dict of arrays with one row dimension, of one length. "
                f"Received: {received}."
            )
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    if isinstance(sample, np.ndarray) and sample.ndim:
        return list(sample)
    if isinstance(sample, (list, tuple)):
        return list(sample)
    raise TypeError(
        "expected a RecordBatch, a dict of arrays or an array with a row dimension, or a list of "
        f"rows. Received: {type(sample).__name__}."
    )
