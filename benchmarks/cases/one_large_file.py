"""Case h: one large TFRecord file whose decoding takes longer than the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.base import Case, Entry, Job, Target
from benchmarks.cases.mlp_files import INPUT, WARM_INPUT, WARM_ROWS, check_files, parts
from benchmarks.models import CLASSES, COLUMNS, save_mlp_of_columns

_ENCODED_ROWS = 8192


def prepare(folder: Path, rows: int) -> None:
    """Writes all rows as one file of tf.Examples with 32 features of one number, and an `id`."""
    import keras

    save_mlp_of_columns(folder / "model.keras")
    features = np.random.default_rng(0).normal(size=(rows, len(COLUMNS))).astype(np.float32)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    expected = np.empty((rows, CLASSES), np.float32)
    for part in parts(rows, 65536):
        inputs = [column[:, None] for column in features[part].T]
        expected[part] = model(inputs, training=False).numpy()
    np.save(folder / "features.npy", features)
    np.save(folder / "expected.npy", expected)
    write_examples(folder / INPUT / "rows.tfrecord", features)
    write_examples(folder / WARM_INPUT / "rows.tfrecord", features[:WARM_ROWS])


def write_examples(path: Path, features: np.ndarray) -> None:
    """Writes the rows as one file, `id` counting from 0."""
    import pyarrow as pa
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    encoder = RecordBatchToExamplesEncoder()
    path.parent.mkdir(exist_ok=True)
    ids = np.arange(len(features))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for part in parts(len(features), _ENCODED_ROWS):
            values = [*features[part].T, ids[part]]
            offsets = pa.array(np.arange(len(ids[part]) + 1, dtype=np.int32))
            lists = [
                pa.ListArray.from_arrays(offsets, np.ascontiguousarray(column)) for column in values
            ]
            batch = pa.RecordBatch.from_arrays(lists, names=[*COLUMNS, "id"])
            for record in encoder.encode(batch):
                writer.write(record)


def check(job: Job) -> None:
    """The files have every `id` with the bare model's scores."""
    check_files(job, ["id"])


_SMALL, _FULL = 300_000, 1_000_000

CASE = Case(
    letter="h",
    name="one_large_file",
    sentence="one TFRecord file of tf.Examples with 32 features of one number each, bound by "
    "decoding; `mirrorbeam` with two worker threads, `mirrorbeam_1` with one",
    clock="from opening the input to the finished output; the model is loaded, and a pipeline has "
    f"scored {WARM_ROWS:,} rows before. `bare` has its rows in memory",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare:columns", _SMALL, _FULL),
        "read": Entry("read:files", _SMALL, _FULL),
        "mirrorbeam": Entry("mirrorbeam:files_in_two_threads", _SMALL, _FULL),
        "mirrorbeam_1": Entry("mirrorbeam:files_in_one_thread", _SMALL, _FULL),
    },
    flags=("--split_bytes=16MiB",),
    targets=(Target("mirrorbeam", "mirrorbeam_1", "rows_per_second", 1.6),),
    sweep_rows=(1024, 4096, 16384, 65536),
)
