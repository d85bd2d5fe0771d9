"""The first steps of a predictor, on made-up rows: kernels are chosen, the pure rate is seen."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from transforms.engine.arrays import made_up_rows
from transforms.engine.errors import SetupError, describe, is_out_of_memory
from transforms.engine.ladder import ladder
from transforms.engine.slicing import slice_for_replicas
from transforms.engine.step import Step, check_rows

_LOG = logging.getLogger(__name__)

_BUDGET_SECONDS = 0.5
_RUNS = 3
# Larger jumps would spend the budget on an estimate from a few rows.
_GROWTH = 16


class WarmUp(NamedTuple):
    """What the model alone can do.

    Attributes:
      rows: the global batch it was measured with.
      rows_per_second: best rate of the step with that batch, arrays to arrays.
    """

    rows: int
    rows_per_second: float


def warm_up(step: Step, replicas: int, limit: int) -> WarmUp | None:
    """Runs a few steps on zeros, of more and more rows while half a second lasts.

    Args:
      step: traced for fields of known shape.
      replicas: slices of a batch.
      limit: largest global batch to run.

    Returns:
      The pure model's rate with the largest batch that was run; None where the model does
      not take rows of zeros or empty strings, as one that parses records does not.

    Raises:
      SetupError: some of the rows have an output, and others none.
    """
    until = time.perf_counter() + _BUDGET_SECONDS
    rows = replicas
    try:
        run_made_up_rows(step, rows, replicas)
        while True:
            best = min(run_made_up_rows(step, rows, replicas) for _ in range(_RUNS))
            left = until - time.perf_counter()
            affordable = int(left / _RUNS / best * rows)
            following = ladder(max(replicas, min(limit, affordable)), replicas)[-1]
            if following <= rows:
                return WarmUp(rows, rows / best)
            rows = min(following, rows * _GROWTH)
    except SetupError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            _LOG.warning(
                "no warm-up: the memory does not hold its rows (%s)", describe(error).error
            )
        else:
            _LOG.info("no warm-up: the model does not take made-up rows (%s: %s)", *describe(error))
        return None


def run_made_up_rows(step: Step, rows: int, replicas: int) -> float:
    """Runs a step on zeros, or empty strings, and gives the seconds that it took."""
    columns = {field.name: made_up_rows(field, rows) for field in step.fields}
    slices = slice_for_replicas(columns, replicas)
    started = time.perf_counter()
    ran = step(slices)
    for outputs in ran:
        for tensor in outputs.values():
            tensor.numpy()
    seconds = time.perf_counter() - started
    for outputs in ran:
        # Without any rows left the model may only pass over zeros.
        check_rows(
            {name: value for name, value in outputs.items() if value.shape[0]}, rows // replicas
        )
    return seconds
