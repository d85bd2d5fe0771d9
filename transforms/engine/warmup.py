"""The first steps of a predictor, on made-up rows: kernels are chosen, the pure rate is seen."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from transforms.engine.arrays import made_up_rows
from transforms.engine.errors import describe
from transforms.engine.ladder import ladder
from transforms.engine.slicing import slice_for_replicas
from transforms.engine.step import Step

_LOG = logging.getLogger(__name__)

_BUDGET_SECONDS = 0.5


class WarmUp(NamedTuple):
    """What the model alone can do.

    Attributes:
      rows: the global batch it was measured with.
      rows_per_second: best rate of the step with that batch, arrays to arrays.
    """

    rows: int
    rows_per_second: float


def warm_up(step: Step, replicas: int, limit: int) -> WarmUp | None:
    """Runs a few steps on zeros, the last ones with as many rows as half a second allows.

    Args:
      step: traced for fields of known shape.
      replicas: slices of a batch.
      limit: largest global batch to run.

    Returns:
      The pure model's rate; None where the model does not take rows of zeros or empty
      strings, as one that parses records does not.
    """
    try:
        run_made_up_rows(step, replicas, replicas)
        seconds = run_made_up_rows(step, replicas, replicas)
        affordable = int(_BUDGET_SECONDS / max(seconds, 1e-6)) * replicas
        rows = ladder(max(replicas, min(limit, affordable)), replicas)[-1]
        best = min(run_made_up_rows(step, rows, replicas) for _ in range(3))
    except Exception as error:
        _LOG.info("no warm-up: the model does not take made-up rows (%s)", describe(error).error)
        return None
    return WarmUp(rows, rows / best)


def run_made_up_rows(step: Step, rows: int, replicas: int) -> float:
    """Runs a step on zeros, or empty strings, and gives the seconds that it took."""
    columns = {field.name: made_up_rows(field, rows) for field in step.fields}
    slices = slice_for_replicas(columns, replicas)
    started = time.perf_counter()
    for outputs in step(slices):
        for tensor in outputs.values():
            tensor.numpy()
    return time.perf_counter() - started
