"""Rows given one by one, against the same rule applied to each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.conversion import FeatureError
from transforms.engine.signature import TensorField
from transforms.features import columns_to_arrays
from transforms.matching import Feed
from transforms.rows import match_row, rows_to_arrays

MODERATE = settings(max_examples=120)


def feed(dtype: str, shape: tuple[int | None, ...] | None, column: str = "x") -> Feed:
    return Feed(column, column, TensorField(column, dtype, shape))


def placed(rows: list[Any], feeds: list[Feed]) -> list[Any]:
    """Each row's value of `x`, or the name of its error."""
    conversion = rows_to_arrays(rows, feeds)
    found: list[Any] = [None] * len(rows)
    for group in conversion.groups:
        numbers = range(len(rows)) if group.rows is None else group.rows.tolist()
        for row, value in zip(numbers, group.arrays["x"], strict=True):
            assert found[row] is None
            found[row] = value
    for error in conversion.errors:
        assert found[error.row] is None
        assert error.message.startswith("expected column 'x'")
        found[error.row] = error.error
    return found


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-9, 9),
    st.sampled_from([2**24 + 1, 2**40, 2**63, 2**64, -(2**63)]),
    st.sampled_from([0.5, -3.0, 1e300, float("inf")]),
    st.sampled_from([np.float32(1.5), np.int8(3), np.uint64(2**63), np.bool_(True)]),
)
VALUES = st.one_of(
    NUMBERS,
    st.none(),
    st.lists(st.integers(-9, 9), max_size=3),
    st.lists(st.floats(-9, 9, width=16), min_size=2, max_size=2).map(np.array),
    st.sampled_from(["a", b"b\0", [1, None], [[1], [2, 3]], ["a", 1], {"k": 1}]),
    st.sampled_from([np.datetime64("2020-01-01"), np.array(["a"]), [b"a\0", "b"]]),
)


@MODERATE
@given(
    values=st.one_of(st.lists(VALUES, max_size=6), st.lists(NUMBERS, max_size=6)),
    dtype=st.sampled_from(["float32", "int32", "bool", "string"]),
    shape=st.sampled_from([(), (1,), (2,), (None,), None]),
)
def test_a_row_fares_among_others_as_it_does_alone(values: Any, dtype: str, shape: Any) -> None:
    feeds = [feed(dtype, shape)]
    alone = [plain(placed([{"x": value}], feeds)[0]) for value in values]
    assert [plain(value) for value in placed([{"x": value} for value in values], feeds)] == alone


@MODERATE
@given(
    rows=st.lists(
        st.one_of(st.none(), st.lists(st.integers(-(2**30), 2**30), max_size=3), st.just([1, 2])),
        max_size=8,
    ),
    shape=st.sampled_from([(2,), (None,), (1, 2)]),
)
def test_rows_and_columns_follow_the_same_rules(rows: Any, shape: Any) -> None:
    feeds = [feed("float32", shape)]
    batch = pa.record_batch({"x": pa.array(rows, pa.list_(pa.int64()))})
    columns = columns_to_arrays(batch, feeds)
    found = rows_to_arrays(
        [{"x": None if row is None else np.array(row, np.int64)} for row in rows], feeds
    )
    assert [(e.row, e.error) for e in found.errors] == [(e.row, e.error) for e in columns.errors]
    for one, other in zip(found.groups, columns.groups, strict=True):
        np.testing.assert_array_equal(one.arrays["x"], other.arrays["x"])
        assert (one.rows is None) is (other.rows is None)
        if one.rows is not None:
            np.testing.assert_array_equal(one.rows, other.rows)


@pytest.mark.parametrize(
    ("value", "dtype", "shape", "expected"),
    [
        (3, "float32", (1,), [3.0]),
        (True, "float32", (), 1.0),
        (np.float64(0.1), "float32", (), float(np.float32(0.1))),
        (0.5, "int32", (), "CastError"),
        (2**24 + 1, "float32", (), "CastError"),
        (2**31, "int32", (), "CastError"),
        (2**64, "float32", (), "CastError"),
        (1e300, "float32", (), "CastError"),
        ("ä", "string", (), "ä".encode()),
        (b"\xff\0", "string", (), b"\xff\0"),
        ("\ud800", "string", (), "CastError"),
        ([b"a\0", "b"], "string", (2,), [b"a\0", b"b"]),
        (np.array(["a", "bc"]), "string", (2,), [b"a", b"bc"]),
        (np.array([b"a\0", None], object), "string", (2,), "NullValueError"),
        (1, "string", (), "CastError"),
        ("1", "float32", (), "CastError"),
        ([[1], [1, 2]], "float32", (None,), "ShapeError"),
        ([1, 2, 3, 4], "float32", (2, 2), [[1.0, 2.0], [3.0, 4.0]]),
        ([1], "float32", (), "ShapeError"),
        (None, "float32", (), "NullValueError"),
        ([1, None], "float32", (2,), "NullValueError"),
        (np.array([1.5, 2.5], ">f8"), "float32", (2,), [1.5, 2.5]),
        (np.datetime64("2020-01-01"), "int64", (), "CastError"),
        ({"k": 1}, "float32", (), "CastError"),
    ],
)
def test_single_values(value: Any, dtype: str, shape: Any, expected: Any) -> None:
    for count in (1, 3):
        found = placed([{"x": value}] * count, [feed(dtype, shape)])
        assert [plain(row) for row in found] == [expected] * count


def test_a_row_without_the_column_fails_alone() -> None:
    assert placed([{"x": 1.0}, {}], [feed("float32", ())]) == [1.0, "NullValueError"]


def test_arrays_and_bytes_are_the_value_themselves() -> None:
    arrays = [np.full(2, row, np.float32) for row in range(3)]
    np.testing.assert_array_equal(
        rows_to_arrays(arrays, [feed("float32", (2,))]).groups[0].arrays["x"], np.stack(arrays)
    )
    values = rows_to_arrays([b"a\0", b"b"], [feed("string", ())]).groups[0].arrays["x"]
    assert values.tolist() == [b"a\0", b"b"]


def test_rows_of_several_shapes_are_grouped() -> None:
    rows = [{"x": np.zeros(size, np.float32)} for size in (2, 3, 2, 3, 3)]
    groups = rows_to_arrays(rows, [feed("float32", (None,))]).groups
    assert [group.rows.tolist() for group in groups if group.rows is not None] == [
        [0, 2],
        [1, 3, 4],
    ]
    assert [group.arrays["x"].shape for group in groups] == [(2, 2), (3, 3)]


def test_values_without_a_field_keep_their_dtype() -> None:
    conversion = rows_to_arrays([{"x": np.int16(1)}, {"x": np.int16(2)}], [Feed("x", "x", None)])
    assert conversion.groups[0].arrays["x"].dtype == np.int16


def test_rows_are_matched_like_columns() -> None:
    number, text = TensorField("n", "float32", (2,)), TensorField("t", "string", ())
    row = {"n": [1, 2], "t": "a"}
    assert match_row(row, [number, text]) == (Feed("n", "n", number), Feed("t", "t", text))
    assert match_row({"u": 1, "v": "a"}, [text]) == (Feed("v", "t", text),)
    assert match_row({"u": "a"}, [text], {"t": "u"}) == (Feed("u", "t", text),)
    assert match_row(np.zeros(2), [number]) == (Feed("n", "n", number),)
    assert match_row(b"raw", [text]) == (Feed("record", "t", text),)


def test_rows_that_cannot_be_matched() -> None:
    number, text = TensorField("n", "float32", (2,)), TensorField("t", "string", ())
    with pytest.raises(FeatureError, match=r"expected a dict .* n, t\. Received: ndarray"):
        match_row(np.zeros(2), [number, text])
    with pytest.raises(FeatureError, match=r"expected column 't' .* Received: n: int64\[2\]"):
        match_row({"n": [1, 2]}, [number, text])
    with pytest.raises(FeatureError, match=r"expected column 'record' as float32\[\?,2\]"):
        match_row(b"raw", [number])
