"""The rate of the pure model, measured on made-up rows."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf

from transforms.engine.replicas import open_replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.step import Step
from transforms.engine.warmup import warm_up

pytestmark = pytest.mark.usefixtures("logical_cpus")


class Model:
    """Adds up numbers; takes a given time for each row."""

    def __init__(self, field: TensorField, seconds_per_row: float) -> None:
        self.signature = Signature("test", (field,))
        self._seconds_per_row = seconds_per_row

    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        def work(x: np.ndarray) -> np.ndarray:
            time.sleep(self._seconds_per_row * len(x))
            return x.astype(np.float32)

        values = next(iter(inputs.values()))
        return {"y": tf.ensure_shape(tf.numpy_function(work, [values], tf.float32), [None])}


def test_the_largest_affordable_batch_gives_the_rate() -> None:
    step = Step(
        Model(TensorField("x", "float32", ()), 1e-4),
        open_replicas(["CPU:0"]),
        [TensorField("x", "float32", ())],
    )
    started = time.perf_counter()
    found = warm_up(step, 1, 4096)
    assert time.perf_counter() - started < 5
    assert found is not None
    assert 16 <= found.rows <= 2048
    # Pauses last at least as long as asked for; on a busy machine longer.
    assert 2e3 < found.rows_per_second <= 1e4


def test_a_fast_model_is_measured_with_the_whole_batch() -> None:
    field = TensorField("x", "float32", ())
    replicas = open_replicas(["CPU:0", "CPU:1"])
    found = warm_up(Step(Model(field, 0.0), replicas, [field]), 2, 1000)
    assert found is not None
    assert found.rows == 1000


def test_a_model_that_does_not_take_made_up_rows() -> None:
    field = TensorField("x", "string", ())
    step = Step(Model(field, 0.0), open_replicas(["CPU:0"]), [field])
    assert warm_up(step, 1, 100) is None
