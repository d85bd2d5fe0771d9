"""RunInference tuned by hand: one traced call and one copy to NumPy a batch, of a fixed size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import PredictionResult, RunInference

from benchmarks.cases.base import Job
from benchmarks.cases.mlp_files import KEPT
from benchmarks.contenders.runinference import (
    ID_SCHEMA,
    KEPT_SCHEMA,
    LOADED,
    LoadedModelHandler,
    load,
    rows,
    to_nothing,
    to_parquet,
)
from benchmarks.measured import SEEN

# The fastest of 512, 1,024, 2,048, 4,096 and 8,192 with the small network.
BATCH_ROWS = 2048


def blocks(job: Job) -> Callable[[], None]:
    """Rows of the in-memory generator, one an element."""
    return to_nothing(job, rows, RunInference(tuned_handler(job)), see)


def tuned_handler(job: Job, inference_fn: Any = None) -> LoadedModelHandler:
    """The handler of a case's model with one input, traced and warm."""
    import tensorflow as tf

    model = load(job)
    (field,) = model.inputs
    call = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec(field.shape, field.dtype)],
    )
    call(tf.zeros((BATCH_ROWS, *field.shape[1:]), field.dtype))
    LOADED[str(job.model)] = call
    return LoadedModelHandler(
        str(job.model),
        inference_fn=inference_fn or infer,
        min_batch_size=BATCH_ROWS,
        max_batch_size=BATCH_ROWS,
    )


def infer(
    call: Any, batch: Sequence[np.ndarray], arguments: dict[str, Any], model_id: str | None = None
) -> Iterable[PredictionResult]:
    """Scores a batch of rows; each result is a view of one array."""
    scores = call(np.stack(batch)).numpy()
    return [
        PredictionResult(row, score, model_id) for row, score in zip(batch, scores, strict=True)
    ]


def see(result: Any) -> None:
    """Counts a result."""
    SEEN.row(result.inference)


def example_files(job: Job) -> Callable[[], None]:
    """TFRecords of tf.Example: records are the elements, parsed a batch at a time in the graph."""
    import tensorflow as tf

    from benchmarks.models import FEATURES

    model = load(job)
    features = {
        "features": tf.io.FixedLenFeature([FEATURES], tf.float32),
        "id": tf.io.FixedLenFeature([], tf.int64),
    }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def call(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(records, features)
        return parsed["id"], model(parsed["features"], training=False)

    LOADED[str(job.model)] = call
    handler = LoadedModelHandler(
        str(job.model),
        inference_fn=infer_examples,
        min_batch_size=BATCH_ROWS,
        max_batch_size=BATCH_ROWS,
    )

    steps = RunInference(handler), beam.Map(example_row)
    return to_parquet(job, ID_SCHEMA, beam.io.ReadFromTFRecord, *steps)


def infer_examples(
    call: Any, batch: Sequence[bytes], arguments: dict[str, Any], model_id: str | None = None
) -> list[PredictionResult]:
    """Scores a batch of records; a result is the id and a view of the scores."""
    ids, scores = (tensor.numpy() for tensor in call(batch))
    return [
        PredictionResult(record, found, model_id)
        for record, *found in zip(batch, ids.tolist(), scores, strict=True)
    ]


def example_row(result: PredictionResult) -> dict[str, Any]:
    """What is written of a result."""
    row_id, scores = result.inference
    return {"id": row_id, "scores": scores}


def parquet_files(job: Job) -> Callable[[], None]:
    """Parquet read in tables and cut into rows as late as the elements of RunInference allow."""
    handler = tuned_handler(job, infer_keyed)
    steps = beam.FlatMap(table_rows), RunInference(handler), beam.Map(kept_row)
    return to_parquet(job, KEPT_SCHEMA, beam.io.ReadFromParquetBatched, *steps)


def table_rows(table: Any) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Features and kept columns of each row; features are views of one array."""
    column = table.column("features").combine_chunks()
    features = column.flatten().to_numpy().reshape(table.num_rows, -1)
    return zip(features, table.select(KEPT.names).to_pylist(), strict=True)


def infer_keyed(
    call: Any,
    batch: Sequence[tuple[np.ndarray, dict[str, Any]]],
    arguments: dict[str, Any],
    model_id: str | None = None,
) -> list[PredictionResult]:
    """Scores a batch of rows that bring their kept columns along."""
    scores = call(np.stack([features for features, _ in batch])).numpy()
    return [
        PredictionResult(kept, score, model_id)
        for (_, kept), score in zip(batch, scores, strict=True)
    ]


def kept_row(result: PredictionResult) -> dict[str, Any]:
    """What is written of a result."""
    return {**result.example, "scores": result.inference}
