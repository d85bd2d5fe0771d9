"""The rate of the pure model, measured on made-up rows."""

from __future__ import annotations

import types

import numpy as np
import pytest
import tensorflow as tf

from transforms.engine import warmup
from transforms.engine.replicas import open_replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.step import Step
from transforms.engine.warmup import warm_up

pytestmark = pytest.mark.usefixtures("logical_cpus")


class Clock:
    """Seconds that pass only where a model says so."""

    seconds = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(
        warmup, "time", types.SimpleNamespace(perf_counter=lambda: made.seconds)
    )
    return made


class Model:
    """Gives back numbers; takes a given time for each row, on a clock that nothing else moves."""

    def __init__(self, field: TensorField, clock: Clock, seconds_per_row: float) -> None:
        self.signature = Signature("test", (field,))
        self._clock = clock
        self._seconds_per_row = seconds_per_row

    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        def work(x: np.ndarray) -> np.ndarray:
            self._clock.seconds += self._seconds_per_row * len(x)
            return x.astype(np.float32)

        values = next(iter(inputs.values()))
        return {"y": tf.ensure_shape(tf.numpy_function(work, [values], tf.float32), [None])}


def test_the_largest_affordable_batch_gives_the_rate(clock: Clock) -> None:
    field = TensorField("x", "float32", ())
    step = Step(Model(field, clock, 1e-4), open_replicas(["CPU:0"]), [field])
    found = warm_up(step, 1, 4096)
    assert found is not None
    assert found.rows_per_second == pytest.approx(1e4)
    # Three batches of the largest size are most of half a second.
    assert 768 <= found.rows <= 1536
    assert clock.seconds <= 0.5


def test_a_fast_model_is_measured_with_the_whole_batch(clock: Clock) -> None:
    field = TensorField("x", "float32", ())
    replicas = open_replicas(["CPU:0", "CPU:1"])
    found = warm_up(Step(Model(field, clock, 1e-9), replicas, [field]), 2, 1000)
    assert found is not None
    assert found.rows == 1000


def test_a_model_that_does_not_take_made_up_rows(clock: Clock) -> None:
    field = TensorField("x", "string", ())
    step = Step(Model(field, clock, 0.0), open_replicas(["CPU:0"]), [field])
    assert warm_up(step, 1, 100) is None
