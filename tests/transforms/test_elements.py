"""What a scored element looks like, and what is copied of a failed one."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from transforms.elements import (
    Keep,
    kept_columns,
    output_names,
    row_values,
    scored_batch,
    scored_rows,
)
from transforms.engine.signature import TensorField
from transforms.scoring import FailedRow, Part, Results

FIELDS = (TensorField("y", "float32", (2,)),)


def outputs(*rows: int) -> dict[str, np.ndarray]:
    return {"y": np.array([[row, -row] for row in rows], np.float32)}


def test_no_output_takes_the_name_of_a_column_or_of_another_output() -> None:
    assert output_names(["y", "z"], ["x"]) == {"y": "y", "z": "z"}
    assert output_names(["y"], ["y", "y_predicted"]) == {"y": "y_predicted_predicted"}
    assert output_names(["y", "y_predicted"], ["y"]) == {
        "y": "y_predicted_predicted",
        "y_predicted": "y_predicted",
    }


def test_parts_of_different_shape_come_back_in_row_order() -> None:
    batch = pa.RecordBatch.from_pydict({"id": list(range(6))})
    results = Results(
        6,
        [
            Part(np.array([0, 3, 5]), outputs(0, 3, 5)),
            Part(np.array([], dtype=np.int64), {"y": np.empty((0, 2), np.float32)}),
            Part(np.array([1, 4]), outputs(1, 4)),
        ],
        [FailedRow(2, "infer", "E", "m")],
    )
    scored = scored_batch(batch, results, ["id"], FIELDS)
    assert scored["id"].to_pylist() == [0, 1, 3, 4, 5]
    assert scored["y"].to_pylist() == [[row, -row] for row in (0, 1, 3, 4, 5)]


def test_all_rows_failed() -> None:
    batch = pa.RecordBatch.from_pydict({"id": [1]})
    results = Results(1, [], [FailedRow(0, "convert", "E", "m")])
    scored = scored_batch(batch, results, ["id"], FIELDS)
    complete = scored_batch(batch, Results(1, [Part(None, outputs(1))], []), ["id"], FIELDS)
    assert scored.num_rows == 0
    assert scored.schema == complete.schema


def test_rows_come_back_in_order_with_what_is_kept() -> None:
    rows = [{"id": row, "x": row} for row in range(4)]
    results = Results(
        4, [Part(np.array([1, 3]), outputs(1, 3)), Part(np.array([0, 2]), outputs(0, 2))], []
    )
    scored = list(scored_rows(rows, results, ["x"], None))
    assert [row for row, _ in scored] == [0, 1, 2, 3]
    assert [list(prediction) for _, prediction in scored] == [["id", "y"]] * 4
    assert [prediction["y"][0] for _, prediction in scored] == [0, 1, 2, 3]


def test_values_that_python_cannot_hold() -> None:
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([1_000_000_001], pa.timestamp("ns")),
            pa.StringArray.from_buffers(
                1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")
            ),
            pa.array([datetime.date(2026, 1, 2)]),
            pa.array([None], pa.int64()),
        ],
        names=["at", "text", "day", "missing"],
    )
    values = row_values(batch, 0)
    assert values["text"] == b"\xff\xfe"
    assert values["day"] == datetime.date(2026, 1, 2)
    assert values["missing"] is None
    assert pa.array([values["at"]], pa.timestamp("ns")).cast(pa.int64())[0].as_py() == 1_000_000_001


def test_keeping_a_column_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"expected the columns to keep among a, b\. Received: c"):
        kept_columns(["a", "b"], [], ["a", "c"])


@pytest.mark.parametrize("keep", [None, "all", ["a", "b"]])
def test_kept_columns_of_one_name_are_refused(keep: Keep) -> None:
    with pytest.raises(ValueError, match=r"names of their own\. Received: 'a' 2 times\."):
        kept_columns(["a", "x", "a", "b"], ["x"], keep)
    assert kept_columns(["a", "x", "a", "b"], ["x"], "b") == ["b"]
    assert kept_columns(["x", "x", "b"], ["x"], None) == ["b"]


def test_a_wide_table_makes_a_short_message() -> None:
    names = [f"column_{index}" for index in range(3000)]
    with pytest.raises(ValueError, match=r"column_49 and 2950 more\. Received: c\.") as caught:
        kept_columns(names, [], "c")
    assert len(str(caught.value)) < 1000
