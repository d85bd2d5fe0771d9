"""Rows to the engine and their results back, whatever kind of element they came in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from transforms.conversion import Conversion
from transforms.engine.groups import Scored
from transforms.engine.lengths import split_by_length
from transforms.engine.predictor import Predictor
from transforms.engine.slicing import Columns


class Part(NamedTuple):
    """Predicted rows of one shape.

    Attributes:
      rows: their positions, ascending; None where they are all rows, in order.
      outputs: by output name, one entry for each of these rows.
    """

    rows: np.ndarray | None
    outputs: dict[str, np.ndarray]


class FailedRow(NamedTuple):
    """A row without a prediction: its position, and why."""

    row: int
    stage: str
    error: str
    message: str


class Results(NamedTuple):
    """What became of some rows: every one is in one part or has failed.

    Attributes:
      total: how many rows there were.
      parts: the predicted rows.
      failed: the others, by position.
    """

    total: int
    parts: list[Part]
    failed: list[FailedRow]


class Submitted:
    """Rows that are with the engine."""

    def __init__(self, predictor: Predictor, conversion: Conversion, count: int) -> None:
        """Submits every group of a conversion.

        Args:
          predictor: the engine.
          conversion: arrays by input name, a group for each row shape; texts of different
            length are parted further.
          count: rows before the conversion, including those that it failed.
        """
        self.count = count
        self._groups: list[tuple[np.ndarray | None, int, Future[Scored]]] = [
            (
                _positions(group.rows, part.rows),
                _rows_of(part.columns),
                predictor.submit(part.columns, part.length_class),
            )
            for group in conversion.groups
            for part in split_by_length(group.arrays)
        ]
        self._failed = [FailedRow(row, "convert", *reason) for row, *reason in conversion.errors]

    def is_done(self) -> bool:
        """Whether `results` would not wait."""
        return all(future.done() for _, _, future in self._groups)

    def results(self) -> Results:
        """Waits for the rows."""
        failed = list(self._failed)
        parts = []
        for rows, size, future in self._groups:
            scored = future.result()
            for index, reason in scored.errors.items():
                row = index if rows is None else int(rows[index])
                failed.append(FailedRow(row, "infer", *reason))
            parts.append(Part(_without(rows, size, scored.errors), scored.outputs))
        return Results(self.count, parts, sorted(failed))


def good_rows(results: Results) -> np.ndarray | None:
    """Positions of the predicted rows, ascending; None where all were predicted."""
    if not results.failed:
        return None
    good = np.ones(results.total, dtype=bool)
    good[[failed.row for failed in results.failed]] = False
    return np.flatnonzero(good)


def _positions(outer: np.ndarray | None, inner: np.ndarray | None) -> np.ndarray | None:
    """Positions in all rows of those that `inner` picks from the ones at `outer`."""
    if outer is None or inner is None:
        return outer if inner is None else inner
    return outer[inner]


def _without(rows: np.ndarray | None, size: int, errors: Collection[int]) -> np.ndarray | None:
    if not errors:
        return rows
    good = np.ones(size, dtype=bool)
    good[list(errors)] = False
    return np.flatnonzero(good) if rows is None else rows[good]


def _rows_of(arrays: Columns) -> int:
    return len(next(iter(arrays.values())))


def positions(parts: Sequence[Part]) -> np.ndarray:
    """Positions of the parts' rows, in the order in which the parts hold them."""
    return np.concatenate(
        [np.arange(_rows_of(part.outputs)) if part.rows is None else part.rows for part in parts]
    )
