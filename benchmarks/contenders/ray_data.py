"""Ray Data: one fused stage of tasks that read, score and write, a model in every process.

Tasks rather than actors: Ray keeps its processes, and with them the model, from the warm-up to the
clock, where actors would load it again; and fused tasks pass nothing through the object store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.base import Job
from benchmarks.cases.jpeg_files import file_id

# Rows of a batch. For e the fastest of 8, 16 and 32, for d of 128 and 512, for f and g of 2,048 and
# 16,384, on two cores.
BATCH_ROWS = {"b": 8192, "c": 8192, "d": 512, "e": 16, "f": 16384, "g": 16384}
WORKERS = 2
_STORE_BYTES = 2 * 2**30


def parquet_files(job: Job) -> Callable[[], None]:
    """Parquet to Parquet; an id and the other columns that the model does not take go along."""
    import ray.data

    def read(path: Path) -> Any:
        return ray.data.read_parquet(str(path), override_num_blocks=2 * WORKERS)

    return _opened(job, read, score_table)


def example_files(job: Job) -> Callable[[], None]:
    """TFRecords of tf.Example to Parquet, parsed by Ray's own reader."""
    import ray.data

    def read(path: Path) -> Any:
        return ray.data.read_tfrecords(str(path), override_num_blocks=2 * WORKERS)

    return _opened(job, read, score_table)


def image_files(job: Job) -> Callable[[], None]:
    """Files read whole, decoded by OpenCV and scored in one stage."""
    import ray.data

    def read(path: Path) -> Any:
        return ray.data.read_binary_files(
            str(path), include_paths=True, override_num_blocks=4 * WORKERS
        )

    return _opened(job, read, score_files)


def _opened(job: Job, read: Callable[[Path], Any], score: Callable[..., Any]) -> Callable[[], None]:
    """Starts Ray and scores the warm input, with the model loaded in each process."""
    import ray
    import ray.data

    # Its processes import this package.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        object_store_memory=_STORE_BYTES,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False

    def run(source: Path, target: Path) -> None:
        read(source).map_batches(
            score,
            fn_kwargs={"model": str(job.model)},
            batch_size=BATCH_ROWS[job.case.letter],
            batch_format="pyarrow",
        ).write_parquet(str(target))

    run(job.data / job.case.warm_input, job.output / "warm_output")
    return lambda: run(job.data / job.case.input, job.output / "output")


def score_table(table: Any, model: str) -> Any:
    """Kept columns and scores of a table."""
    from benchmarks.contenders.traced import load_traced, table_arrays

    score = load_traced(model, 1)
    kept = table.select([name for name in table.column_names if name not in score.inputs])
    arrays = table_arrays(table.select(score.inputs))
    return kept.append_column("scores", scores_column(score(arrays)))


def score_files(table: Any, model: str) -> Any:
    """Ids and scores of files."""
    import pyarrow as pa

    from benchmarks.contenders.traced import decode_jpeg, load_traced

    score = load_traced(model, 1)
    (name,) = score.inputs
    images: Mapping[str, np.ndarray] = {
        name: np.stack([decode_jpeg(encoded.as_py()) for encoded in table.column("bytes")])
    }
    ids = pa.array([file_id(path.as_py()) for path in table.column("path")])
    return pa.table({"id": ids, "scores": scores_column(score(images))})


def scores_column(scores: np.ndarray) -> Any:
    """Scores `[n, outputs]` as a column of lists."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), scores.shape[1])
