"""Facts about a worker's run, for the job's report."""

from __future__ import annotations

import os
import platform
from typing import Any

from transforms.engine.predictor import Predictor
from transforms.engine.registry import PREDICTORS


def describe_run(predictor: Predictor) -> dict[str, Any]:
    """What a predictor did so far in this process, as plain values.

    The last description of a process holds its totals: rows, batches by size, seconds that the
    devices were busy, and the rate of the model alone where the warm-up could measure it.
    """
    import tensorflow as tf

    statistics = predictor.statistics
    # Where the warm-up could not measure it, the time in the job's own batches has to do.
    rate = statistics.rows / statistics.busy_seconds if statistics.busy_seconds else None
    if predictor.warm_up is not None:
        rate = predictor.warm_up.rows_per_second
    return {
        "process": f"{platform.node()}:{os.getpid()}",
        "devices": list(predictor.replicas.devices),
        "replicas": predictor.replicas.count,
        "ready_at": predictor.ready_at,
        "model_loads": PREDICTORS.loads,
        "traces": predictor.traces,
        "batch_rows": predictor.batch_rows,
        "batches": {str(size): times for size, times in sorted(statistics.batches.items())},
        "shared_batches": statistics.shared_batches,
        "rows": statistics.rows,
        "padded_rows": statistics.padded_rows,
        "busy_seconds": round(statistics.busy_seconds, 6),
        "out_of_memory": statistics.out_of_memory,
        "model_rows_per_second": round(rate, 3) if rate is not None else None,
        "model_rate_from": "warm-up" if predictor.warm_up is not None else "batches",
        "tensorflow": tf.__version__,
    }
