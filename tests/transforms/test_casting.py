"""Which values survive a cast, against Python's own exact numbers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.casting import FLOATS, INTEGERS, cast, cast_refusal
from transforms.engine.arrays import numpy_dtype

EDGES = [
    0,
    1,
    127,
    128,
    255,
    256,
    257,
    2048,
    2049,
    65504,
    65505,
    2**24,
    2**24 + 1,
    2**53,
    2**53 + 1,
]


def integers(name: str) -> st.SearchStrategy[int]:
    low, high = int(np.iinfo(name).min), int(np.iinfo(name).max)
    edges = [low, low + 1, high, high - 1, *EDGES, *(-edge for edge in EDGES)]
    inside = sorted({edge for edge in edges if low <= edge <= high})
    return st.one_of(st.integers(low, high), st.sampled_from(inside))


@given(st.data())
def test_integers_to_floats_are_exact_or_flagged(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(INTEGERS))
    target = data.draw(st.sampled_from(FLOATS))
    values = data.draw(st.lists(integers(source), min_size=1, max_size=8))
    cast_values, misfits = cast(np.array(values, source), target)
    assert cast_values.dtype == numpy_dtype(target)
    for index, value in enumerate(values):
        as_float = float(cast_values[index])
        exact = np.isfinite(as_float) and int(as_float) == value and as_float == int(as_float)
        assert exact is not (misfits is not None and bool(misfits[index])), (value, as_float)


@given(st.data())
def test_integers_to_integers_are_in_range_or_flagged(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(INTEGERS))
    target = data.draw(st.sampled_from(INTEGERS))
    values = data.draw(st.lists(integers(source), min_size=1, max_size=8))
    cast_values, misfits = cast(np.array(values, source), target)
    info = np.iinfo(target)
    for index, value in enumerate(values):
        fits = info.min <= value <= info.max
        assert fits is not (misfits is not None and bool(misfits[index]))
        if fits:
            assert int(cast_values[index]) == value


@pytest.mark.parametrize("target", ["float16", "bfloat16", "float32"])
def test_floats_are_rounded_but_never_become_infinite(target: str) -> None:
    values = np.array([0.1, -2.5, np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300])
    cast_values, misfits = cast(values, target)
    assert misfits is not None
    assert misfits.tolist() == [False] * 5 + [True, True, False]
    with np.errstate(over="ignore"):
        expected = values.astype(numpy_dtype(target))
    np.testing.assert_array_equal(cast_values.astype(np.float64), expected.astype(np.float64))


def test_bfloat16_widens() -> None:
    cast_values, misfits = cast(np.array([1.5, np.inf], ml_dtypes.bfloat16), "float32")
    assert cast_values.dtype == np.float32
    assert cast_values.tolist() == [1.5, np.inf]
    assert misfits is None


def test_booleans_become_numbers_and_only_0_and_1_become_booleans() -> None:
    cast_values, misfits = cast(np.array([True, False]), "float32")
    assert (cast_values.tolist(), misfits) == ([1.0, 0.0], None)
    cast_values, misfits = cast(np.array([0, 1, 2, -1]), "bool")
    assert cast_values[:2].tolist() == [False, True]
    assert misfits is not None
    assert misfits.tolist() == [False, False, True, True]


def test_an_array_of_the_right_dtype_is_not_copied() -> None:
    values = np.arange(3, dtype=np.float32)
    assert cast(values, "float32")[0] is values


def test_foreign_byte_order_becomes_native() -> None:
    cast_values, _ = cast(np.array([1.5], ">f4"), "float32")
    assert cast_values.dtype.isnative
    assert cast_values.tolist() == [1.5]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("float32", "int32"),
        ("float64", "bool"),
        ("string", "float32"),
        ("int64", "string"),
        ("bool", "string"),
        ("complex64", "float32"),
        ("float32", "complex64"),
    ],
)
def test_what_is_refused(source: str, target: str) -> None:
    assert target in (cast_refusal(source, target) or "")
