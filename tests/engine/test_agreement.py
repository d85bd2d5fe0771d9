"""How outputs are compared with those in float32, and when they are refused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from transforms.engine.agreement import Agreement, compare_outputs, first_refusal

RNG = np.random.default_rng(0)


def one(reference: np.ndarray, candidate: np.ndarray) -> Agreement:
    [found] = compare_outputs({"y": reference}, {"y": candidate})
    return found


def test_differences_and_magnitudes() -> None:
    reference = np.array([[1.0, -4.0], [2.0, 3.0]], np.float32)
    found = one(reference, reference + np.array([[0.5, 0.0], [0.0, -0.25]], np.float32))
    assert (found.rows, found.largest, found.mean) == (2, 0.5, 0.1875)
    assert (found.largest_magnitude, found.mean_magnitude) == (4.0, 2.5)
    assert found.same_top_class == 1.0


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_compared_as_numbers(dtype: type) -> None:
    reference = RNG.normal(size=(100, 5)).astype(np.float32)
    rounded = reference.astype(dtype)
    found = one(reference, rounded)
    expected = np.abs(rounded.astype(np.float64) - reference)
    assert found.largest == pytest.approx(expected.max())
    assert found.mean == pytest.approx(expected.mean())
    top = (rounded.astype(np.float32).argmax(1) == reference.argmax(1)).mean()
    assert found.same_top_class == pytest.approx(top)


def test_top_classes_only_where_there_are_classes() -> None:
    assert one(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32)).same_top_class is None
    assert one(np.zeros(3, np.float32), np.zeros(3, np.float32)).same_top_class is None
    cube = np.zeros((3, 2, 2), np.float32)
    assert one(cube, cube).same_top_class is None


def test_what_is_not_finite_agrees_only_with_itself() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 2.0], np.float32)
    found = one(values, values)
    assert (found.largest, found.mean, found.largest_magnitude) == (0.0, 0.0, 2.0)
    for other in (1.0, np.nan, -np.inf):
        overflowed = values.copy()
        overflowed[1] = other
        assert one(values, overflowed).largest == np.inf
    assert "differs by up to inf" in str(one(np.ones(3, np.float32), values[:3]).refusal(1e9))


def test_what_are_no_floats_is_equal_or_not() -> None:
    words = np.array([b"a", b"b", b"c", b"d"], dtype=object)
    assert one(words, words).unequal == 0.0
    assert one(words, np.array([b"a", b"b", b"x", b"d"], dtype=object)).unequal == 0.25
    ids = np.array([[1, 2], [3, 4]])
    found = one(ids, np.array([[1, 2], [9, 9]]))
    assert (found.unequal, found.largest) == (0.5, 0.0)
    assert found.refusal(0.5) is None
    assert found.refusal(0.4) == "y differs in 50.0% of the rows"


def test_no_rows_agree() -> None:
    assert one(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)).refusal(0) is None


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ({"x": np.zeros(2, np.float32)}, "expected outputs"),
        ({"y": np.zeros(3, np.float32)}, "expected y as"),
        ({"y": np.zeros(2, np.int64)}, "expected y as"),
    ],
    ids=["names", "shapes", "kinds"],
)
def test_other_outputs_cannot_be_compared(candidate: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compare_outputs({"y": np.zeros(2, np.float32)}, candidate)


def test_the_tolerance_is_a_share_of_the_magnitude() -> None:
    reference = np.linspace(1, 100, 100, dtype=np.float32)
    peak = reference.copy()
    peak[0] += 3
    assert one(reference, peak).refusal(0.04) is None
    assert one(reference, peak).refusal(0.02) == "y differs by up to 3, more than 2"
    everywhere = reference + np.float32(1.5)
    assert one(reference, everywhere).refusal(0.03) is None
    assert "on average" in str(one(reference, everywhere).refusal(0.02))
    assert one(reference, reference).refusal(0) is None


def test_changed_top_classes_are_refused() -> None:
    reference = np.tile(np.array([[1.0, 1.001]], np.float32), (100, 1))
    candidate = reference.copy()
    candidate[:5] = [1.001, 1.0]
    found = one(reference, candidate)
    assert found.refusal(0.05) is None
    assert found.refusal(0.04) == "y has another top class in 5.0% of the rows"


def test_next_to_nothing_is_not_measured_by_itself() -> None:
    zeros = np.zeros(4, np.float32)
    assert one(zeros, zeros + np.float32(1e-9)).refusal(0.01) is None
    assert one(zeros, zeros + np.float32(1e-3)).refusal(0.01) is not None


def test_the_first_output_beyond_it_is_named() -> None:
    good, bad = np.ones(2, np.float32), np.full(2, 2, np.float32)
    found = compare_outputs({"a": good, "b": good, "c": good}, {"a": good, "b": bad, "c": bad})
    assert str(first_refusal(found, 0.1)).startswith("b differs")
    assert first_refusal(found, 1.0) is None
