"""What is made of a row that failed by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from transforms.engine.errors import InferenceError
from transforms.engine.recovery import Recovery
from transforms.engine.sizing import BatchSizer
from transforms.engine.slicing import Columns

ROW = {"x": np.ones(1, np.float32)}
CANCELLED = tf.errors.CancelledError(None, None, "RecvAsync is cancelled.")
BAD = tf.errors.InvalidArgumentError(None, None, "a bad row")


def recovery(run: Callable[[Columns], dict[str, np.ndarray]]) -> Recovery:
    return Recovery(
        run,
        lambda columns: {"y": np.zeros(0)},
        lambda: None,
        BatchSizer(1, requested=8),
        padded_rows=lambda rows: rows,
        predicted_rows=lambda: None,
    )


@pytest.mark.parametrize("cancelled", [0, 2])
def test_a_row_that_was_only_given_up_is_tried_again_for_the_cause(cancelled: int) -> None:
    outcomes: list[Exception] = [*[CANCELLED] * cancelled, BAD]

    def run(columns: Columns) -> dict[str, np.ndarray]:
        raise outcomes.pop(0)

    _, failed = recovery(run).predict(ROW, CANCELLED)
    assert failed == {0: InferenceError("InvalidArgumentError", "a bad row")}
    assert not outcomes


def test_a_row_that_succeeds_then_is_predicted() -> None:
    outputs, failed = recovery(lambda columns: {"y": columns["x"]}).predict(ROW, CANCELLED)
    assert not failed
    np.testing.assert_array_equal(outputs["y"], ROW["x"])


def test_a_row_that_never_tells_a_cause_fails_with_what_it_says() -> None:
    def run(columns: Columns) -> dict[str, np.ndarray]:
        raise CANCELLED

    _, failed = recovery(run).predict(ROW, CANCELLED)
    assert failed == {0: InferenceError("CancelledError", "RecvAsync is cancelled.")}
