"""Texts of different length run apart, and every row comes back where it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.engine.lengths import length_classes, split_by_length


def texts(*lengths: int) -> np.ndarray:
    values = np.empty(len(lengths), dtype=object)
    values[:] = [b"x" * length for length in lengths]
    return values


@given(lengths=st.lists(st.integers(0, 50_000), min_size=1, max_size=30))
def test_every_row_is_in_one_group_of_its_like(lengths: list[int]) -> None:
    columns = {"text": texts(*lengths), "n": np.arange(len(lengths))}
    groups = split_by_length(columns)
    assert sorted(np.concatenate([group.columns["n"] for group in groups])) == [
        *range(len(lengths))
    ]
    for group in groups:
        if group.rows is not None:
            np.testing.assert_array_equal(group.columns["n"], group.rows)
        sizes = [max(1024, len(text)) for text in group.columns["text"]]
        assert max(sizes) <= 4 * min(sizes)


@pytest.mark.parametrize("lengths", [(), (3, 900, 0), (2000, 4000)])
def test_texts_of_about_one_length_are_not_copied(lengths: tuple[int, ...]) -> None:
    columns = {"text": texts(*lengths)}
    (group,) = split_by_length(columns)
    assert group.rows is None
    assert group.columns is columns


def test_numbers_and_lists_of_texts_stay_together() -> None:
    columns = {"x": np.zeros((3, 5)), "words": texts(1, 9000).repeat(3).reshape(3, 2)}
    (group,) = split_by_length(columns)
    assert group.columns is columns


def test_classes() -> None:
    found = length_classes(np.array([0, 1024, 1025, 4096, 4097, 16384, 1 << 40]))
    assert found.tolist() == [0, 0, 1, 1, 2, 2, 15]
