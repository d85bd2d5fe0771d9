from __future__ import annotations

import math

import pyarrow as pa
import pytest

from pipelines.sources.text_values import MIXED, TYPES, as_fed, convert, infer_field
from transforms.engine.signature import TensorField


@pytest.mark.parametrize(
    ("texts", "kind", "is_mixed"),
    [
        (["1", "-2", "+3", " 4 ", ""], "int64", False),
        (["1", "2.5", "1e3", ".5", "-5.", "nan", "inf"], "float64", False),
        (["1", "2", "NaN"], "float64", False),
        (["1", "NA", "NULL", "n/a"], "int64", False),
        (["true", "False", ""], "bool", False),
        (["a", "1", "2"], "int64", True),
        (["a", "b", "1"], "string", False),
        (["007", "042", "123"], "string", False),
        (["94103", "94104", "02134"], "int64", True),
        (["12345678901234567890", "2"], "string", False),
        (["0x1F", "0x20"], "string", False),
        (["1,5", "2,5"], "string", False),
        (["2024-01-01"], "string", False),
        (["", ""], "string", False),
        ([], "string", False),
    ],
)
def test_the_type_is_that_of_most_values(texts, kind, is_mixed):
    field = infer_field("c", pa.array(texts, pa.string()))
    assert field.type == TYPES[kind]
    assert (MIXED in (field.metadata or {})) == is_mixed


@pytest.mark.parametrize(
    ("kind", "texts", "values"),
    [
        ("int64", ["1", " -2", "+3", "", "NA"], [1, -2, 3, None, None]),
        ("float64", ["1", "2.5 ", "+1e3", "null", "-inf"], [1, 2.5, 1000, None, -math.inf]),
        ("float32", ["0.5", ""], [0.5, None]),
        ("bool", ["true", "FALSE", " True", ""], [True, False, True, None]),
        ("string", ["a", "", " b ", "NA"], ["a", "", " b ", "NA"]),
    ],
)  # fmt: skip
def test_converts_what_a_type_can_be_written_as(kind, texts, values):
    column, misfits = convert(pa.array(texts), TYPES[kind])
    assert (column.type, column.to_pylist(), misfits) == (TYPES[kind], values, [])


@pytest.mark.parametrize(
    ("kind", "text"),
    [("int64", "1.5"), ("int64", "x"), ("int64", "nan"), ("int64", "99999999999999999999"),
     ("float64", "1,5"), ("float64", "1.2.3"), ("bool", "maybe")],
)  # fmt: skip
def test_names_the_rows_of_other_types(kind, text):
    sound = {"int64": "7", "float64": "7.5", "bool": "true"}[kind]
    column, misfits = convert(pa.array([sound, text, "", sound]), TYPES[kind])
    assert column.is_null().to_pylist() == [False, True, True, False]
    assert [misfit.row for misfit in misfits] == [1]
    assert text in misfits[0].message


def test_not_a_number_is_a_float():
    column, misfits = convert(pa.array(["NaN", "nan", "1"]), pa.float64())
    assert [math.isnan(value) for value in column.to_pylist()] == [True, True, False]
    assert misfits == []


def test_integers_are_read_as_floats_where_floats_are_fed():
    lists = pa.field("c", pa.list_(pa.list_(pa.int64())))
    floats, integers = TensorField("c", "bfloat16", (None,)), TensorField("c", "int32")
    assert as_fed(lists, floats).type == pa.list_(pa.list_(pa.float64()))
    assert as_fed(lists, integers) == as_fed(lists, None) == lists
    assert as_fed(pa.field("c", pa.string()), floats).type == pa.string()
