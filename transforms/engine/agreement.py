"""How far the outputs of a faster model are from those in float32, on the same rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from transforms.engine.arrays import dtype_name
from transforms.engine.slicing import Columns

# What outputs that are nothing but zeros, or next to it, are measured by.
_LEAST_MAGNITUDE = 1e-6


@dataclasses.dataclass(frozen=True)
class Agreement:
    """One output of a candidate beside the same output in float32.

    Attributes:
      name: the output's.
      rows: how many were compared.
      largest: the largest absolute difference; infinite where only one of both is finite.
      mean: the mean absolute difference.
      largest_magnitude: the largest absolute value in float32.
      mean_magnitude: the mean absolute value in float32.
      same_top_class: share of rows whose largest entry is the same, for floats `[N, k]` with
        k > 1.
      unequal: share of rows that differ at all, for what are no floats; their differences
        are zero.
    """

    name: str
    rows: int
    largest: float = 0.0
    mean: float = 0.0
    largest_magnitude: float = 0.0
    mean_magnitude: float = 0.0
    same_top_class: float | None = None
    unequal: float | None = None

    def refusal(self, tolerance: float) -> str | None:
        """Why the difference is beyond the tolerance; None where it is not.

        The largest difference is held against the largest magnitude, the mean difference
        against the mean magnitude, and changed top classes against the rows.
        """
        allowed = tolerance * max(self.largest_magnitude, _LEAST_MAGNITUDE)
        if not self.largest <= allowed:
            return f"{self.name} differs by up to {self.largest:.3g}, more than {allowed:.3g}"
        allowed = tolerance * max(self.mean_magnitude, _LEAST_MAGNITUDE)
        if not self.mean <= allowed:
            return f"{self.name} differs by {self.mean:.3g} on average, more than {allowed:.3g}"
        if self.same_top_class is not None and self.same_top_class < 1 - tolerance:
            changed = 1 - self.same_top_class
            return f"{self.name} has another top class in {changed:.1%} of the rows"
        if self.unequal is not None and self.unequal > tolerance:
            return f"{self.name} differs in {self.unequal:.1%} of the rows"
        return None


def compare_outputs(reference: Columns, candidate: Columns) -> tuple[Agreement, ...]:
    """Compares every output of some rows.

    Args:
      reference: arrays `[rows, …]` by output name, in float32.
      candidate: the same outputs of the same rows.

    Raises:
      ValueError: they differ in names, shapes or kinds.
    """
    if list(reference) != list(candidate):
        raise ValueError(f"expected outputs {list(reference)}. Received: {list(candidate)}.")
    return tuple(_compare(name, reference[name], candidate[name]) for name in reference)


def first_refusal(agreements: Sequence[Agreement], tolerance: float) -> str | None:
    """Why the first output beyond the tolerance is; None where all are within."""
    return next(filter(None, (found.refusal(tolerance) for found in agreements)), None)


def _compare(name: str, reference: np.ndarray, candidate: np.ndarray) -> Agreement:
    if reference.shape != candidate.shape or _is_float(reference) != _is_float(candidate):
        described = [f"{dtype_name(v)}{list(v.shape)}" for v in (reference, candidate)]
        raise ValueError(f"expected {name} as {described[0]}. Received: {described[1]}.")
    if not reference.size:
        return Agreement(name, len(reference))
    if not _is_float(reference):
        rows = (reference != candidate).reshape(len(reference), -1).any(axis=1)
        return Agreement(name, len(reference), unequal=float(rows.mean()))
    wanted, given = reference.astype(np.float64), candidate.astype(np.float64)
    same = (wanted == given) | (np.isnan(wanted) & np.isnan(given))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(given - wanted))
    difference[np.isnan(difference)] = np.inf
    magnitude = np.abs(wanted[np.isfinite(wanted)])
    same_top_class = None
    if reference.ndim == 2 and reference.shape[1] > 1:
        same_top_class = float((wanted.argmax(axis=1) == given.argmax(axis=1)).mean())
    return Agreement(
        name,
        len(reference),
        largest=float(difference.max()),
        mean=float(difference.mean()),
        largest_magnitude=float(magnitude.max(initial=0.0)),
        mean_magnitude=float(magnitude.mean()) if magnitude.size else 0.0,
        same_top_class=same_top_class,
    )


def _is_float(values: np.ndarray) -> bool:
    # NumPy has no bfloat16 of its own: it is a float by its name alone.
    return values.dtype.kind == "f" or dtype_name(values) == "bfloat16"
