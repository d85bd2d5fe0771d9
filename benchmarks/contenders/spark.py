"""Spark's ``predict_batch_udf`` on local threads, a Python process and a model for each.

Spark keeps its Python processes and, by the identity of the function, their models, from the
warm-up to the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.base import Job
from benchmarks.cases.jpeg_files import file_id

# Rows of a batch: the fastest of 512, 2,048 and 8,192 for columns, of 8, 16 and 32 for images.
BATCH_ROWS = {"c": 8192, "d": 128, "e": 16, "f": 4096, "g": 4096}
WORKERS = 2
_MEMORY = "2g"


def parquet_files(job: Job) -> Callable[[], None]:
    """Parquet to Parquet; an id and the other columns that the model does not take go along."""
    from benchmarks.contenders.traced import load_traced

    score = load_traced(str(job.model))
    names, shapes = score.inputs, score.shapes
    session = start(job)
    predict = predict_udf(job, names, [list(shape) if len(shape) > 1 else None for shape in shapes])

    def run(source: Path, target: Path) -> None:
        from pyspark.sql import functions

        table = session.read.parquet(str(source))
        kept = [functions.col(name) for name in table.columns if name not in names]
        scores = predict(*(functions.col(name) for name in names)).alias("scores")
        table.select(*kept, scores).write.parquet(str(target))

    run(job.data / job.case.warm_input, job.output / "warm_output")
    return lambda: run(job.data / job.case.input, job.output / "output")
