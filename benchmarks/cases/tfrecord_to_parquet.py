"""Case b: the small network from TFRecords of tf.Example to Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.base import AHEAD_OF_PEERS, Case, Entry, Job, Target
from benchmarks.cases.mlp_files import (
    FILES,
    INPUT,
    WARM_INPUT,
    WARM_ROWS,
    check_files,
    make_model_and_rows,
    parts,
)

_ENCODED_ROWS = 8192


def prepare(folder: Path, rows: int) -> None:
    """Writes the rows as tf.Examples of `features` (32 floats) and `id`."""
    features = make_model_and_rows(folder, rows)
    for part in parts(rows, -(-rows // FILES)):
        write_examples(folder / INPUT / f"rows-{part.start:010d}.tfrecord", features, part)
    write_examples(folder / WARM_INPUT / "rows.tfrecord", features, slice(0, WARM_ROWS))


def write_examples(path: Path, features: np.ndarray, part: slice) -> None:
    """Writes some of the rows as one file."""
    import pyarrow as pa
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    encoder = RecordBatchToExamplesEncoder()
    path.parent.mkdir(exist_ok=True)
    ids = np.arange(len(features))[part]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for some in parts(len(ids), _ENCODED_ROWS):
            values = features[ids[some]]
            columns = {"features": values, "id": ids[some][:, None]}
            batch = pa.RecordBatch.from_arrays(
                [_lists(column) for column in columns.values()], names=list(columns)
            )
            for record in encoder.encode(batch):
                writer.write(record)


def _lists(values: np.ndarray) -> object:
    import pyarrow as pa

    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, values.reshape(-1))


def check(job: Job) -> None:
    """The files have every `id` with the bare model's scores."""
    check_files(job, ["id"])


CASE = Case(
    letter="b",
    name="tfrecord_to_parquet",
    sentence="the same network from TFRecords of tf.Example (32 floats and an id) to Parquet",
    clock="from opening the input to the finished output; the model is loaded, and a pipeline has "
    f"scored {WARM_ROWS:,} rows before. `bare` has its rows in memory",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare:arrays", 1_000_000, 4_000_000),
        "read": Entry("read:files", 1_000_000, 4_000_000),
        "mirrorbeam": Entry("mirrorbeam:files", 1_000_000, 4_000_000),
        "runinference": Entry("runinference:example_files", 20_000, 100_000),
        "runinference_tuned": Entry("runinference_tuned:example_files", 100_000, 500_000),
        "ray_data": Entry("ray_data:example_files", 20_000, 100_000, tree=True),
        "tfx_bsl": Entry("tfx_bsl:example_files", 40_000, 200_000),
    },
    targets=(
        Target("mirrorbeam", "runinference_tuned", "rows_per_second", 10),
        *AHEAD_OF_PEERS,
    ),
    sweep_rows=(1024, 4096, 16384, 65536, 262144),
)
