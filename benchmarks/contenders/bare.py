"""The ceiling: the model in a loop over arrays, nothing around it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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


def columns(job: Job) -> Callable[[], None]:
    """The columns of `features.npy` for a model that takes each as an input of its own."""
    import keras
    import tensorflow as tf

    features = np.load(job.data / "features.npy")
    columns = [np.ascontiguousarray(column)[:, None] for column in features.T]
    rows = job.batch_rows or 4096
    model = keras.models.load_model(job.model, compile=False)
    call = tf.function(
        lambda *inputs: model(list(inputs), training=False),
        input_signature=[tf.TensorSpec(field.shape, field.dtype) for field in model.inputs],
    )

    def score(first: int) -> np.ndarray:
        return call(*(tf.constant(column[first : first + rows]) for column in columns)).numpy()

    score(0)

    def run() -> None:
        for first in range(0, len(features), rows):
            SEEN.block(score(first))

    return run


def script(job: Job) -> Callable[[], object]:
    """A plain script that imports TensorFlow and Beam, loads the model and makes one step."""
    path = Path(__file__).with_name("plain_script.py")
    command = [sys.executable, str(path), str(job.model), str(job.data / "features.npy")]
    command.append(str(job.output / "scores.npy"))
    return lambda: subprocess.run(command, check=True)


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
