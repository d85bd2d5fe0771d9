"""Spark's ``predict_batch_udf`` on local threads, a Python process and a model for each.

Spark keeps its Python processes and, by the identity of the function, their models, from the
warm-up to the clock.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.base import Job
from benchmarks.cases.table_files import ARRAYS

# Rows of a batch. For e the fastest of 8, 16 and 32, for d of 128 and 512, for f and g of 2,048 and
# 16,384, on two cores.
BATCH_ROWS = {"c": 8192, "d": 512, "e": 8, "f": 16384, "g": 16384}
WORKERS = 2
_MEMORY = "2g"


def parquet_files(job: Job) -> Callable[[], None]:
    """Parquet to Parquet; an id and the other columns that the model does not take go along."""
    from pyspark.sql import functions

    session = start(job)
    shapes = input_shapes(job.data)
    predict = column_udf(job, shapes)

    def run(source: Path, target: Path) -> None:
        table = session.read.parquet(str(source))
        kept = [functions.col(name) for name in table.columns if name not in shapes]
        scores = predict(*(functions.col(name) for name in shapes)).alias("scores")
        table.select(*kept, scores).write.parquet(str(target))

    run(job.data / job.case.warm_input, job.output / "warm_output")
    return lambda: run(job.data / job.case.input, job.output / "output")


def image_files(job: Job) -> Callable[[], None]:
    """Files read whole; OpenCV decodes them where they are scored, so that no pixels travel."""
    from pyspark.sql import functions

    session = start(job)
    predict = file_udf(job)

    def run(source: Path, target: Path) -> None:
        files = session.read.format("binaryFile").load(str(source))
        name = functions.regexp_extract("path", r"(\d+)\.jpg$", 1)
        scores = predict(functions.col("content")).alias("scores")
        files.select(name.cast("long").alias("id"), scores).write.parquet(str(target))

    run(job.data / job.case.warm_input, job.output / "warm_output")
    return lambda: run(job.data / job.case.input, job.output / "output")


def start(job: Job) -> Any:
    """A session on this machine alone."""
    from pyspark.sql import SparkSession

    # Its processes import this package.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.driver.memory": _MEMORY,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": BATCH_ROWS[job.case.letter],
        "spark.sql.files.maxPartitionBytes": "16m",
        "spark.sql.files.openCostInBytes": "16k",
        "spark.sql.files.minPartitionNum": 2 * WORKERS,
        "spark.local.dir": str(job.output / "spark"),
        "spark.sql.warehouse.dir": str(job.output / "warehouse"),
    }
    builder = SparkSession.builder.master(f"local[{WORKERS}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def input_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of a row of each input, without loading the model here."""
    paths = [*sorted((folder / ARRAYS).glob("*.npy")), *folder.glob("features.npy")]
    return {path.stem: np.load(path, mmap_mode="r").shape[1:] for path in paths}


def column_udf(job: Job, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Scores of a column for each input."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    names, model = tuple(shapes), str(job.model)

    def make_predict() -> Any:
        from benchmarks.contenders.traced import load_traced

        score = load_traced(model, 1)

        def predict(*columns: np.ndarray) -> np.ndarray:
            return score(dict(zip(names, columns, strict=True)))

        # Spark counts the parameters.
        kind = inspect.Parameter.POSITIONAL_ONLY
        predict.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, kind) for name in names]
        )
        return predict

    tensors = {
        position: [int(np.prod(shape))]
        for position, shape in enumerate(shapes.values())
        if np.prod(shape) > 1
    }
    return predict_batch_udf(
        make_predict,
        return_type=ArrayType(FloatType()),
        batch_size=BATCH_ROWS[job.case.letter],
        input_tensor_shapes=[tensors[0]] if len(names) == 1 and tensors else tensors or None,
    )


def file_udf(job: Job) -> Any:
    """Scores of a column of JPEG files."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    model = str(job.model)

    def make_predict() -> Any:
        from benchmarks.contenders.traced import decode_jpeg, load_traced

        score = load_traced(model, 1)
        (name,) = score.inputs

        def predict(files: np.ndarray) -> np.ndarray:
            return score({name: np.stack([decode_jpeg(encoded) for encoded in files])})

        return predict

    return predict_batch_udf(
        make_predict,
        return_type=ArrayType(FloatType()),
        batch_size=BATCH_ROWS[job.case.letter],
    )
