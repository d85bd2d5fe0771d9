"""Which row shapes fit which model shapes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.shapes import can_fit, fit_shape

SIZES = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("received", "expected", "fitted"),
    [
        ((), (), ()),
        ((), (1,), (1,)),
        ((), (None,), (1,)),
        ((), (2,), None),
        ((), (None, None), None),
        ((1,), (), None),
        ((4,), (4,), (4,)),
        ((4,), (2, 2), (2, 2)),
        ((5,), (2, 2), None),
        ((6,), (None, 2), (3, 2)),
        ((5,), (None, 2), None),
        ((0,), (None,), (0,)),
        ((0,), (None, 3), (0, 3)),
        ((28, 28), (28, 28, 1), (28, 28, 1)),
        ((28, 28, 1), (28, 28), (28, 28)),
        ((4, 6), (4, 3, 2), (4, 3, 2)),
        ((3, 8, 8), (8, 8, 3), None),
        ((2, 6), (6, 2), None),
        ((1, 4), (4, 1), None),
        ((2, 1), (None, 2), None),
        ((2, 6), (4, 3), None),
        ((5, 7, 3), (None, None, 3), (5, 7, 3)),
        ((5, 7, 1), (None, None, 3), None),
        ((5, 7), (None, None, 1), (5, 7, 1)),
        ((35,), (None, None, 1), None),
        ((8, 5, 3), (None, 5, 3), (8, 5, 3)),
        ((5, 8, 3), (None, 5, 3), None),
        ((5, 7), None, (5, 7)),
    ],
)
def test_fit_shape(
    received: tuple[int, ...],
    expected: tuple[int | None, ...] | None,
    fitted: tuple[int, ...] | None,
) -> None:
    assert fit_shape(received, expected) == fitted


@given(SIZES, st.data())
def test_a_fit_keeps_the_size_and_every_known_dimension(
    received: tuple[int, ...], data: st.DataObject
) -> None:
    expected = data.draw(st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=4).map(tuple))
    fitted = fit_shape(received, expected)
    assert can_fit(received, expected) is (fitted is not None)
    if fitted is None:
        return
    assert math.prod(fitted) == math.prod(received)
    assert len(fitted) == len(expected)
    assert all(want in (None, size) for want, size in zip(expected, fitted, strict=True))


@given(SIZES, SIZES)
def test_a_flat_row_fits_every_shape_of_its_size(
    one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    flat = (math.prod(one),)
    assert fit_shape(flat, other) == (other if other and flat[0] == math.prod(other) else None)


@given(st.permutations([2, 3, 4]), st.permutations([1, 2, 3, 4]))
def test_dimensions_are_never_exchanged(one: list[int], other: list[int]) -> None:
    same_order = one == [size for size in other if size > 1]
    assert (fit_shape(tuple(one), tuple(other)) is not None) is same_order


@given(SIZES, st.data())
def test_can_fit_never_refuses_what_some_row_fits(
    received: tuple[int, ...], data: st.DataObject
) -> None:
    expected = data.draw(st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=4).map(tuple))
    if fit_shape(received, expected) is not None:
        hidden = tuple(data.draw(st.sampled_from([size, None])) for size in received)
        assert can_fit(hidden, expected)
        assert can_fit(None, expected)
