"""Rows that lack what others have: what feeds a row does not hang on the rows before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.transforms.test_inference import run
from transforms import Batching, MirroredInference

pytestmark = pytest.mark.usefixtures("logical_cpus")


@pytest.fixture(scope="module")
def doubling(tmp_path_factory: pytest.TempPathFactory, logical_cpus: int) -> str:
    class Double(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": 2 * x}

    module, path = Double(), tmp_path_factory.mktemp("doubling") / "m"
    tf.saved_model.save(module, str(path), signatures=module.serve)
    return str(path)


def score(model: str, rows: list[Any], **options: Any) -> tuple[list[float], list[Any]]:
    predictions, failures = run(rows, MirroredInference(model, devices=("CPU:0",), **options))
    return [float(row["y"]) for row in predictions], [failure["data"] for failure in failures]


@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_row_without_the_input_fails_wherever_it_stands(doubling: str, size: int) -> None:
    bad = {"s": "no number"}
    for rows in ([bad, {"x": 3.0}], [{"x": 3.0}, bad]):
        assert score(doubling, rows, batching=Batching(rows=size)) == ([6.0], [bad])


def test_another_number_does_not_stand_in_for_the_input(doubling: str) -> None:
    rows = [{"id": 7.0}, {"id": 1.0, "x": 5.0}, {"id": 2.0, "x": 6.0}]
    assert score(doubling, rows) == ([10.0, 12.0], [{"id": 7.0}])
    later = score(doubling, [*rows[1:], rows[0]], batching=Batching(rows=1))
    assert later == ([10.0, 12.0], [{"id": 7.0}])


def test_the_one_column_that_fits_is_found_for_each_set_of_columns(doubling: str) -> None:
    rows = [
        {"a": None, "s": "t"},
        {"a": 1.0, "s": "t"},
        {"b": 2.0},
        {"a": 1.0, "b": 3.0},
        {"a": None, "c": 4.0},
        {"a": 5.0, "c": 6.0},
        {},
    ]
    predicted, failed = score(doubling, rows)
    assert predicted == [2.0, 4.0]
    assert failed == [rows[0], rows[3], rows[4], rows[5], rows[6]]


@pytest.mark.parametrize("size", [1, 8])
def test_an_array_that_does_not_fit_fails_alone(doubling: str, size: int) -> None:
    rows = [np.ones(3, np.float32), np.float32(2)]
    predicted, (failed,) = score(doubling, rows, batching=Batching(rows=size))
    assert predicted == [4.0]
    assert failed is rows[0] or failed.tolist() == [1, 1, 1]


def test_a_bad_first_row_does_not_decide_what_can_be_kept(doubling: str) -> None:
    rows = [{"s": "no number"}, {"x": 1.0, "id": 5}]
    predictions, failures = run(
        rows, MirroredInference(doubling, keep=["id"], batching=Batching(rows=1))
    )
    assert [row["id"] for row in predictions] == [5]
    assert len(failures) == 1


@pytest.mark.parametrize("row", [np.float32(1), b"1"])
def test_one_value_does_not_feed_two_parameters(doubling: str, row: Any) -> None:
    with pytest.raises(Exception, match="a value for each parameter of preprocess a, b"):
        score(doubling, [row], preprocess=lambda a, b: a + b)


def test_failures_name_the_origin_that_a_dict_has(doubling: str) -> None:
    row = {"x": None, "_source": "f", "_row": 3}
    _, (failure,) = run([row], MirroredInference(doubling))
    assert (failure["source"], failure["row"], failure["data"]) == ("f", 3, row)
