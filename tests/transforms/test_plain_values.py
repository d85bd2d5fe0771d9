"""Values that Python cannot hold come back as their columns take them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from transforms.plain_values import plain_value

FAR = 2**62
TIMES = pa.array([FAR], pa.timestamp("us"))
BAD = pa.array([b"\xff"], pa.binary()).view(pa.string())


@pytest.mark.parametrize("column", [
    TIMES,
    pa.array([FAR], pa.timestamp("s", "UTC")),
    pa.array([FAR], pa.duration("s")),
    pa.array([2**30], pa.date32()),
    pa.array([[FAR, None, 5]], pa.list_(pa.timestamp("us"))),
    pa.array([[FAR, 5]], pa.list_(pa.timestamp("us"), 2)),
    pa.StructArray.from_arrays([TIMES, pa.array(["x"])], ["a", "b"]),
    pa.array([[("x", FAR)]], pa.map_(pa.string(), pa.timestamp("us"))),
])  # fmt: skip
def test_times_of_any_year_fit_their_column_again(column: pa.Array) -> None:
    with pytest.raises(OverflowError):
        column[0].as_py()
    assert pa.array([plain_value(column[0])], column.type).equals(column)


@pytest.mark.parametrize(("column", "value"), [
    (BAD, b"\xff"),
    (BAD.dictionary_encode(), b"\xff"),
    (pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), BAD), [b"\xff"]),
    (pa.ExtensionArray.from_storage(pa.json_(), BAD), b"\xff"),
])  # fmt: skip
def test_strings_that_are_no_utf_8_are_bytes(column: pa.Array, value: Any) -> None:
    assert plain_value(column[0]) == value


@pytest.mark.parametrize("value", [None, 1, "x", [1, None], {"a": "x"}])
def test_other_values_are_those_of_python(value: Any) -> None:
    assert plain_value(pa.array([value])[0]) == value
