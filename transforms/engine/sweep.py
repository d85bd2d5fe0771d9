"""Finding the batch size before a job, on a sample of its rows."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from transforms.engine.arrays import array_bytes
from transforms.engine.errors import is_out_of_memory
from transforms.engine.ladder import ladder
from transforms.engine.sizing import MOST_ROWS, START_BYTES, START_ROWS
from transforms.engine.slicing import Columns, count_rows
from transforms.engine.tuning import RateTuner

if TYPE_CHECKING:
    from transforms.engine.predictor import Predictor

# Input bytes of one batch: the engine's queue holds two.
MOST_BYTES = 128 << 20


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
    """

    sizes: tuple[MeasuredSize, ...]
    chosen: int
    too_large: int | None = None


def sweep(
    predictor: Predictor,
    sample: Columns,
    *,
    seconds: float = 60.0,
    most_rows: int | None = None,
    measure_peak: Callable[[Callable[[], float]], tuple[float, int | None]] | None = None,
) -> Sweep:
    """Climbs from the rule of thumb's size to the best one.

    Args:
      predictor: idle; its batches are made of the sample's rows, repeated.
      sample: a few rows by field name, of one shape.
      seconds: the search ends after about this long.
      most_rows: largest batch to try, as the memory is predicted to hold.
      measure_peak: calls a function and gives its result with the peak bytes of a device.

    Raises:
      ValueError: the sample has no rows.
      tf.errors.OpError: the model does not take the sample's rows.
    """
    if not count_rows(sample):
        raise ValueError("expected a sample with at least one row. Received: none.")
    row_bytes = max(1, sum(map(array_bytes, sample.values())) // count_rows(sample))
    most = min(MOST_ROWS, MOST_BYTES // row_bytes, most_rows or MOST_ROWS)
    sizes = ladder(max(1, most), predictor.replicas.count)
    tuner = RateTuner(sizes, max(sizes[0], min(START_ROWS, START_BYTES // row_bytes)))
    peaks: dict[int, int | None] = {}
    too_large: int | None = None
    until = time.monotonic() + seconds
    while not tuner.is_done and (time.monotonic() < until or not tuner.measured):
        rows = tuner.current
        run = functools.partial(predictor.time_batch, repeat_rows(sample, rows))
        try:
            took, peaks[rows] = (run(), None) if measure_peak is None else measure_peak(run)
        except Exception as error:
            if not is_out_of_memory(error) or rows == sizes[0]:
                raise
            too_large = rows
            tuner.forbid(rows)
        else:
            tuner.observe(rows, took)
    measured = tuple(
        MeasuredSize(size.rows, size.rows_per_second, peaks.get(size.rows))
        for size in tuner.measured
    )
    return Sweep(measured, tuner.chosen, too_large)


def repeat_rows(columns: Columns, rows: int) -> Columns:
    """As many rows, made of the given ones in turn."""
    order = np.arange(rows) % count_rows(columns)
    return {name: values[order] for name, values in columns.items()}
