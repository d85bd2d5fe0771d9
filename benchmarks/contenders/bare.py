"""The ceiling: the model in a loop over arrays, nothing around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.cases.base import Job
from benchmarks.measured import SEEN


def blocks(job: Job) -> Callable[[], None]:
    """Rows of the in-memory generator."""
    from benchmarks.cases.record_batches import generate

    rows = job.batch_rows or 4096
    score = scorer(job, rows)

    def run() -> None:
        for block in generate(0, job.rows, rows):
            SEEN.block(score(block))

    return run


def arrays(job: Job) -> Callable[[], None]:
    """Rows of `features.npy`, in memory before the clock."""
    features = np.load(job.data / "features.npy")
    rows = job.batch_rows or 4096
    score = scorer(job, rows)

    def run() -> None:
        for first in range(0, len(features), rows):
            SEEN.block(score(features[first : first + rows]))

    return run


def scorer(job: Job, batch_rows: int) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function from arrays to arrays, traced for any number of rows and warm."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(job.model, compile=False)
    (field,) = model.inputs
    call = tf.function(
        lambda rows: model(rows, training=False),
        input_signature=[tf.TensorSpec(field.shape, field.dtype)],
    )

    def score(rows: np.ndarray) -> np.ndarray:
        return call(tf.constant(rows)).numpy()

    score(np.zeros((batch_rows, *field.shape[1:]), field.dtype))
    return score
