"""JSON text of Arrow columns against the standard library's reader and a plain reference."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sinks.json_text import json_lines, json_refusal, json_text


def reference(value: Any) -> Any:
    """What a value is once its JSON is read again."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [reference(item) for item in value]
    if isinstance(value, dict):
        return {name: reference(item) for name, item in value.items()}
    return value


floats = st.floats(width=64) | st.sampled_from([0.1, 1e16, 1e-7, -0.0])
cases = st.one_of(
    st.tuples(st.just(pa.int64()), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1))),
    st.tuples(st.just(pa.uint8()), st.lists(st.none() | st.integers(0, 255))),
    st.tuples(st.just(pa.float64()), st.lists(st.none() | floats)),
    st.tuples(st.just(pa.bool_()), st.lists(st.none() | st.booleans())),
    st.tuples(st.sampled_from([pa.string(), pa.large_string()]), st.lists(st.none() | st.text())),
    st.tuples(st.sampled_from([pa.binary(), pa.large_binary()]), st.lists(st.none() | st.binary())),
    st.tuples(
        st.sampled_from([pa.list_(pa.string()), pa.large_list(pa.string())]),
        st.lists(st.none() | st.lists(st.none() | st.text())),
    ),
    st.tuples(
        st.just(pa.list_(pa.list_(pa.int32(), 2))),
        st.lists(st.none() | st.lists(
            st.none() | st.lists(st.integers(-9, 9), min_size=2, max_size=2))),
    ),
    st.tuples(
        st.just(pa.struct([("a", pa.float64()), ('"b"\n', pa.list_(pa.binary()))])),
        st.lists(st.none() | st.fixed_dictionaries(
            {"a": st.none() | floats, '"b"\n': st.none() | st.lists(st.binary())})),
    ),
)


@settings(max_examples=150)
@given(case=cases, data=st.data())
def test_every_value_reads_back(case: tuple[pa.DataType, list[Any]], data: st.DataObject) -> None:
    kind, values = case
    array = pa.array(values, kind)
    start = data.draw(st.integers(0, len(values)))
    texts = json_text(array.slice(start)).to_pylist()
    assert json_refusal(kind) is None
    assert [json.loads(text) for text in texts] == [reference(value) for value in values[start:]]


@settings(max_examples=100)
@given(values=st.lists(st.floats(width=32)))
def test_float32_reads_back_as_the_same_float32(values: list[float]) -> None:
    array = np.array(values, np.float32)
    read = [json.loads(text) for text in json_text(pa.array(array)).to_pylist()]
    expected = [value if np.isfinite(value) else None for value in array]
    assert [None if value is None else np.float32(value) for value in read] == expected


def test_floats_look_like_floats_and_are_short() -> None:
    array = pa.array([0.1, 1.0, -2.0, 1e22, None], pa.float32())
    assert json_text(array).to_pylist() == ["0.1", "1.0", "-2.0", "1e+22", "null"]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.timestamp("us"), 1, '"1970-01-01T00:00:00.000001"'),
        (pa.timestamp("s", "Europe/Berlin"), 0, '"1970-01-01T01:00:00+0100"'),
        (pa.date32(), 1, '"1970-01-02"'),
        (pa.time32("s"), 61, '"00:01:01"'),
        (pa.duration("ms"), 5, "5"),
        (pa.decimal128(9, 2), 7, "7.00"),
        (pa.float16(), 0.5, "0.5"),
        (pa.null(), None, "null"),
        (pa.binary(2), b"\xff\x00", '{"b64": "/wA="}'),
        (pa.map_(pa.string(), pa.int8()), [("a", 1), ("b", None)], '{"a":1,"b":null}'),
        (pa.map_(pa.int8(), pa.bool_()), [(1, True)], '{"1":true}'),
        (pa.struct([]), {}, "{}"),
    ],
)
def test_other_types_have_their_text(kind: pa.DataType, value: Any, text: str) -> None:
    assert json_text(pa.array([value, None], kind)).to_pylist() == [text, "null"]


def test_a_string_that_is_no_utf8_does_not_stop_the_rest() -> None:
    broken = pa.array([b"good", b"\xff", None], pa.binary()).view(pa.string())
    assert json_text(broken).to_pylist() == ['"good"', '{"b64": "/w=="}', "null"]


def test_lines_of_a_slice_are_those_rows_alone() -> None:
    batch = pa.record_batch({"a": [1, 2, 3], "é": ["x", None, "z"]})
    lines = bytes(json_lines(batch.slice(1, 2))).decode().splitlines()
    assert [json.loads(line) for line in lines] == batch.slice(1, 2).to_pylist()
    assert bytes(json_lines(batch.slice(0, 0))) == b""


@pytest.mark.parametrize("kind", [
    pa.month_day_nano_interval(),
    pa.list_(pa.month_day_nano_interval()),
    pa.struct([("a", pa.dense_union([pa.field("b", pa.int8())]))]),
])
def test_types_without_json_are_refused(kind: pa.DataType) -> None:
    assert json_refusal(kind) == "it has no JSON form"
