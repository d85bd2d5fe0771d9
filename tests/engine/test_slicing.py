"""Padding, slicing, gathering and cutting lose, double and reorder nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.engine.ladder import ladder, padded_rows
from transforms.engine.slicing import cut, gather, join, pad, slice_for_replicas

_sizes = st.integers(min_value=1, max_value=200)
_replicas = st.integers(min_value=1, max_value=8)


@given(rows=_sizes, replicas=_replicas, limit=_sizes)
def test_round_trip(rows: int, replicas: int, limit: int) -> None:
    columns = {"a": np.arange(rows), "b": np.arange(3 * rows).reshape(rows, 3)}
    padded = padded_rows(rows, max(rows + replicas - 1, limit), replicas)
    slices = slice_for_replicas(pad(columns, padded), replicas)
    assert len(slices) == replicas
    assert {len(part["a"]) for part in slices} == {padded // replicas}
    gathered = gather(slices, rows)
    for name, values in columns.items():
        np.testing.assert_array_equal(gathered[name], values)


@given(rows=_sizes, cuts=st.lists(st.integers(0, 200), max_size=5))
def test_cut_and_join(rows: int, cuts: list[int]) -> None:
    columns = {"a": np.arange(rows)}
    edges = [0, *sorted(min(place, rows) for place in cuts), rows]
    parts = [cut(columns, a, b) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(join(parts)["a"], columns["a"])


@given(limit=st.integers(1, 10_000), replicas=_replicas)
def test_ladder_steps(limit: int, replicas: int) -> None:
    steps = ladder(limit, replicas)
    assert steps[0] == replicas
    assert steps[-1] == max(1, limit // replicas) * replicas
    assert all(step % replicas == 0 for step in steps)
    each = [step // replicas for step in steps]
    assert all(b <= 2 * a for a, b in itertools.pairwise(each))
    assert all(2 * b <= 3 * a for a, b in itertools.pairwise(each[1:]))


def test_padding_repeats_the_last_row() -> None:
    np.testing.assert_array_equal(pad({"a": np.array([1, 2])}, 4)["a"], [1, 2, 2, 2])


def test_one_group_and_equal_slices_are_not_copied() -> None:
    values = np.zeros((8, 2))
    columns = {"a": values}
    assert join([columns])["a"] is values
    assert pad(columns, 8)["a"] is values
    assert all(np.shares_memory(part["a"], values) for part in slice_for_replicas(columns, 2))


@pytest.mark.parametrize("rows", [0, 3])
def test_no_slice_without_rows(rows: int) -> None:
    with pytest.raises(ValueError, match=f"expected a multiple of 2 rows. Received: {rows}"):
        slice_for_replicas({"a": np.zeros(rows)}, 2)


def test_more_rows_than_the_ladder_holds() -> None:
    with pytest.raises(ValueError, match=r"expected at most 8 rows\. Received: 9"):
        padded_rows(9, 8, 2)
