from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.casting import (
    cast_column,
    holds_text,
    is_compatible,
    valid_text,
    without_views,
)


@settings(max_examples=60)
@given(st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 9) | st.none(), max_size=40))
def test_casts_what_fits_and_names_the_rest(values):
    column, misfits = cast_column(pa.array(values, pa.int64()), pa.int32())
    fits = [value is None or -(2**31) <= value < 2**31 for value in values]
    assert column.type == pa.int32()
    expected = [value if fit else None for value, fit in zip(values, fits, strict=True)]
    assert column.to_pylist() == expected
    assert [misfit.row for misfit in misfits] == [row for row, fit in enumerate(fits) if not fit]
    assert all(misfit.message for misfit in misfits)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_text_that_is_no_utf_8_is_found(kind):
    stored = pa.large_binary() if kind == pa.large_string() else pa.binary()
    column = pa.array([b"ok", b"\xff", None, b"\xc3\xa9"], stored).view(kind)
    text, misfits = valid_text(column)
    assert text.to_pylist() == ["ok", None, None, "é"]
    assert [misfit.row for misfit in misfits] == [1]


TEXT = pa.array([b"\xff", b"ok", b"more"], pa.binary()).view(pa.string())


@pytest.mark.parametrize("column", [
    TEXT.dictionary_encode(),
    pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), TEXT),
    pa.StructArray.from_arrays([TEXT, pa.array([1, 2, 3])], ["a", "b"]),
    pa.ExtensionArray.from_storage(pa.json_(), TEXT),
    pa.MapArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), TEXT, TEXT),
])  # fmt: skip
@pytest.mark.parametrize("start", [0, 1])
def test_text_that_is_no_utf_8_is_found_within_others(column, start):
    assert holds_text(column.type)
    text, misfits = valid_text(column.slice(start))
    text.validate(full=True)
    assert text.type == column.type
    assert text.slice(1 - start).to_pylist() == column.slice(1).to_pylist()
    assert text.null_count == 1 - start
    assert [misfit.row for misfit in misfits] == [0][start:]


LISTS = pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 3)


@pytest.mark.parametrize(
    ("stored", "planned"),
    [
        (pa.int32(), pa.int64()),
        (pa.int64(), pa.int32()),
        (pa.uint8(), pa.float32()),
        (pa.float64(), pa.float32()),
        (pa.string(), pa.large_binary()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.string(), pa.dictionary(pa.int8(), pa.string())),
        (pa.null(), pa.list_(pa.int64())),
        (pa.timestamp("us"), pa.timestamp("ns")),
        (pa.decimal128(5, 2), pa.decimal128(9, 3)),
        (pa.string_view(), pa.large_string()),
        (pa.binary_view(), pa.string()),
        (pa.binary(16), pa.uuid()),
        (pa.struct({"a": pa.string()}), pa.struct({"a": pa.dictionary(pa.int8(), pa.string())})),
        (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int64())),
        *((stored, planned) for stored in LISTS for planned in LISTS),
    ],
)
def test_widths_and_layouts_may_differ(stored, planned):
    assert is_compatible(stored, planned)
    column, misfits = cast_column(pa.nulls(2, stored), planned)
    assert (column.type, misfits) == (planned, [])


@pytest.mark.parametrize(
    ("stored", "planned"),
    [
        (pa.float32(), pa.int64()),
        (pa.string(), pa.int64()),
        (pa.int64(), pa.string()),
        (pa.bool_(), pa.int64()),
        (pa.int64(), pa.list_(pa.int64())),
        (pa.list_(pa.string()), pa.list_(pa.int64())),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.struct([("a", pa.int64())]), pa.struct([("b", pa.int64())])),
    ],
)
def test_other_kinds_of_values_do_not_stand_for_each_other(stored, planned):
    assert not is_compatible(stored, planned)


@pytest.mark.parametrize(("kind", "value"), [
    (pa.string_view(), "x"),
    (pa.binary_view(), b"x"),
    (pa.list_(pa.string_view(), 2), ["x", "y"]),
    (pa.large_list(pa.struct([("a", pa.list_(pa.binary_view()))])), [{"a": [b"x"]}]),
    (pa.map_(pa.string_view(), pa.string_view()), [("x", "y")]),
])  # fmt: skip
def test_rows_can_be_taken_out_of_columns_without_views(kind, value):
    column, misfits = cast_column(pa.array([value, value, value], kind), without_views(kind))
    assert misfits == []
    assert column.filter(pa.array([True, False, True])).to_pylist() == [value, value]
