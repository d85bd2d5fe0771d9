"""Finding the batch size before a job, on a sample of its rows."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from transforms.engine.arrays import columns_row_bytes
from transforms.engine.errors import is_out_of_memory
from transforms.engine.ladder import ladder
from transforms.engine.sizing import MOST_ROWS, START_BYTES, START_ROWS
from transforms.engine.slicing import Columns, count_rows
from transforms.engine.tuning import RateTuner

if TYPE_CHECKING:
    from transforms.engine.predictor import Predictor

# Input bytes of one batch, or for each GPU: the engine's queue holds two.
MOST_BYTES = 128 << 20
# Batches of the size to begin with that the time must hold; larger ones take longer.
_FIRST_BATCHES = 40
_TRIALS = 3
# How often each size is run again, in turn: what else the machine did for a moment counts little.
_ROUNDS = 4


@dataclasses.dataclass(frozen=True)
class MeasuredSize:
    """What one batch size does.

    Attributes:
      rows: the global batch.
      rows_per_second: its best rate, arrays to arrays.
      peak_bytes: most memory of one device while it ran; None without allocator statistics.
    """

    rows: int
    rows_per_second: float
    peak_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The sizes that were measured, ascending, and the one to use.

    Attributes:
      sizes: at least one.
      chosen: the smallest within two percent of the best rate.
      too_large: the smallest size that did not fit the memory; None where all did.
      is_complete: whether the search came to its end; else the time did.
    """

    sizes: tuple[MeasuredSize, ...]
    chosen: int
    too_large: int | None = None
    is_complete: bool = True


def sweep(
    predictor: Predictor,
    sample: Columns,
    *,
    seconds: float = 60.0,
    most_rows: int | None = None,
    measure_peak: Callable[[Callable[[], float]], tuple[float, int | None]] | None = None,
) -> Sweep:
    """Climbs from the rule of thumb's size to the best one.

    A slow model starts with fewer rows, so that the time holds several sizes.

    Args:
      predictor: idle; its batches are made of the sample's rows, repeated.
      sample: a few rows by field name, of one shape.
      seconds: the search ends after about this long; the smallest size is measured at any rate.
      most_rows: largest batch to try, if not what the predictor takes to fit the memory.
      measure_peak: calls a function and gives its result with the peak bytes of a device.

    Raises:
      ValueError: the sample has no rows.
      tf.errors.OpError: the model does not take the sample's rows.
    """
    if not count_rows(sample):
        raise ValueError("expected a sample with at least one row. Received: none.")
    row_bytes = max(1, columns_row_bytes(sample))
    replicas = predictor.replicas
    most_bytes = MOST_BYTES * (replicas.count if replicas.kind == "GPU" else 1)
    limits = [MOST_ROWS, most_bytes // row_bytes, most_rows, predictor.sizer.fitting_rows]
    most = min(limit for limit in limits if limit is not None)
    sizes = ladder(max(1, most), replicas.count)
    affordable = int(_rate_of_few(predictor, sample) * seconds / _FIRST_BATCHES)
    tuner = RateTuner(sizes, min(START_ROWS, START_BYTES // row_bytes, affordable))
    peaks: dict[int, int | None] = {}
    too_large: int | None = None
    until = time.monotonic() + seconds

    def seconds_for(rows: int) -> float | None:
        nonlocal too_large
        run = functools.partial(predictor.time_batch, repeat_rows(sample, rows))
        try:
            took, peak = (run(), None) if measure_peak is None else measure_peak(run)
        except Exception as error:
            if not is_out_of_memory(error) or rows == sizes[0]:
                raise
            too_large = rows
            tuner.forbid(rows)
            return None
        peaks[rows] = max(filter(None, (peak, peaks.get(rows))), default=None)
        return took

    while not tuner.is_done and (time.monotonic() < until or not tuner.measured):
        rows = tuner.current
        took = seconds_for(rows)
        if took is not None:
            tuner.observe(rows, took)
    for size in tuner.measured * _ROUNDS:
        if time.monotonic() < until and (too_large is None or size.rows < too_large):
            took = seconds_for(size.rows)
            if took is not None:
                tuner.confirm(size.rows, took)
    measured = tuple(
        MeasuredSize(size.rows, size.rows_per_second, peaks.get(size.rows))
        for size in tuner.measured
    )
    return Sweep(measured, tuner.chosen, too_large, tuner.is_done)


def _rate_of_few(predictor: Predictor, sample: Columns) -> float:
    """Rows per second in small batches, after one that may have to choose kernels."""
    rows = predictor.replicas.count * min(16, count_rows(sample))
    batch = repeat_rows(sample, rows)
    predictor.time_batch(batch)
    return rows / max(min(predictor.time_batch(batch) for _ in range(_TRIALS)), 1e-9)


def repeat_rows(columns: Columns, rows: int) -> Columns:
    """As many rows, made of the given ones in turn."""
    order = np.arange(rows) % count_rows(columns)
    return {name: values[order] for name, values in columns.items()}
