"""How many rows the next device batch has: what was asked, what fits, what is fastest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, Protocol

from transforms.engine.ladder import ladder
from transforms.engine.tuning import RateTuner

_LOG = logging.getLogger(__name__)

# Where to begin: above it a batch stops gaining on most models, its arrays leave the caches.
START_ROWS = 4096
START_BYTES = 8 << 20
# Beyond it a step's fixed cost is lost in the noise, and the host waits long for each answer.
MOST_ROWS = 1 << 16
# Clean batches before a size that was lowered by an OOM is raised by one step.
CLEAN_BATCHES_BEFORE_GROWTH = 16
# Full batches before the search starts: a job that ends before pays nothing for it.
BATCHES_BEFORE_TUNING = 20


class Sizes(Protocol):
    """What runs batches asks how many rows they have, and tells what became of them."""

    def set_fitting(self, rows: int | None) -> None:
        """Takes the most rows of a batch that fit the memory, as predicted."""

    def rows_for(self, row_bytes: int, is_static: bool = True) -> int:
        """Rows of a batch whose rows have so many bytes."""

    def observe(self, rows: int, row_bytes: int, seconds: float, is_static: bool = True) -> bool:
        """Takes a batch that ran into account; whether a search ended with it."""

    def out_of_memory(
        self, rows: int, row_bytes: int, predicted_rows: Callable[[], int | None] | None = None
    ) -> bool:
        """Lowers the limit below a batch that did not fit; False where it cannot be smaller."""


class BatchSizer:
    """Decides the rows of a batch, and learns from what became of the last ones.

    Rows are counted where all rows have one shape. Where shapes are free, limits are kept as
    bytes of input, so that longer rows come in smaller batches.
    """

    def __init__(
        self,
        replicas: int,
        *,
        requested: int | Literal["auto"] = "auto",
        most_bytes: int = 128 << 20,
        tuned: int | None = None,
    ) -> None:
        """Args:
        replicas: slices of a batch; every size is a multiple of it.
        requested: rows of the global batch, or `auto`.
        most_bytes: input bytes that a batch never exceeds, if it has more than a row each.
        tuned: a size that an earlier run found; nothing is searched then.
        """
        self._replicas = replicas
        self._requested = requested
        self._most_bytes = most_bytes
        self._fitting_rows: int | None = None
        self._tuned = tuned
        self._tuner: RateTuner | None = None
        self._full_batches = 0
        # Limits after an OOM, in bytes of input: never reached again, and the present one.
        self._failed_bytes: int | None = None
        self._limit_bytes: int | None = None
        self._failed_rows: int | None = None
        self._clean_batches = 0

    @property
    def tuner(self) -> RateTuner | None:
        """The search, once it has begun."""
        return self._tuner

    @property
    def fitting_rows(self) -> int | None:
        """The most rows of a batch that fit the memory, as predicted; None for no limit."""
        return self._fitting_rows

    def set_fitting(self, rows: int | None) -> None:
        """Takes the most rows of a batch that fit the memory, as predicted; None for no limit."""
        self._fitting_rows = rows

    def rows_for(self, row_bytes: int, is_static: bool = True) -> int:
        """Rows of a batch whose rows have so many bytes."""
        row_bytes = max(1, row_bytes)
        if self._requested != "auto":
            rows = self._requested
        elif self._tuner is not None and is_static:
            rows = self._tuner.current
        elif self._tuned is not None and is_static:
            rows = self._tuned
        else:
            rows = min(START_ROWS, START_BYTES // row_bytes)
        if self._requested == "auto":
            rows = min(rows, self._most_bytes // row_bytes)
            if self._fitting_rows is not None:
                rows = min(rows, self._fitting_rows)
        if self._limit_bytes is not None:
            rows = min(rows, self._limit_bytes // row_bytes)
        return ladder(max(1, rows), self._replicas)[-1]

    @property
    def found_rows(self) -> int:
        """The size that a search found, lowered by what has not fitted since."""
        found = self._tuner.chosen if self._tuner is not None else self._tuned
        most = self._failed_rows
        fitting = [size for size in ladder(found or 1, self._replicas) if not most or size < most]
        return fitting[-1] if fitting else self._replicas

    @property
    def is_tuned(self) -> bool:
        """Whether a search has ended, now or earlier."""
        return self._tuned is not None or (self._tuner is not None and self._tuner.is_done)

    def observe(self, rows: int, row_bytes: int, seconds: float, is_static: bool = True) -> bool:
        """Takes a batch into account that ran without error.

        Args:
          rows: its rows, without padding.
          row_bytes: bytes of one.
          seconds: how long the devices were busy with it.
          is_static: whether all rows of the job have this shape, or those of late had it.

        Returns:
          Whether the search ended with this batch.
        """
        self._grow(row_bytes)
        if self._requested != "auto" or not is_static or self.is_tuned:
            return False
        target = self.rows_for(row_bytes)
        self._full_batches += rows == target
        if self._tuner is None:
            if self._full_batches >= BATCHES_BEFORE_TUNING:
                most = min(MOST_ROWS, self._most_bytes // max(1, row_bytes))
                if self._fitting_rows is not None:
                    most = min(most, self._fitting_rows)
                if self._limit_bytes is not None:
                    most = min(most, self._limit_bytes // max(1, row_bytes))
                self._tuner = RateTuner(ladder(max(most, target), self._replicas), target)
            return False
        self._tuner.observe(rows, seconds)
        return self._tuner.is_done

    def out_of_memory(
        self, rows: int, row_bytes: int, predicted_rows: Callable[[], int | None] | None = None
    ) -> bool:
        """Lowers the limit below a batch that did not fit.

        Args:
          rows: its rows, with padding.
          row_bytes: bytes of one.
          predicted_rows: rows that should fit after what the failure showed.

        Returns:
          False where the batch had one row per replica already.
        """
        row_bytes = max(1, row_bytes)
        self._clean_batches = 0
        smaller = [size for size in ladder(rows, self._replicas) if size < rows]
        if not smaller:
            return False
        half = max(size for size in smaller if size <= max(smaller[0], rows // 2))
        predicted = predicted_rows() if predicted_rows is not None else None
        target = half if predicted is None else max(smaller[0], min(half, predicted))
        failed = rows * row_bytes
        self._failed_bytes = min(failed, self._failed_bytes or failed)
        self._failed_rows = min(rows, self._failed_rows or rows)
        self._limit_bytes = min(target * row_bytes, self._limit_bytes or target * row_bytes)
        if self._tuner is not None:
            self._tuner.forbid(rows)
        _LOG.warning(
            "a batch of %d rows did not fit the memory; going on with at most %d", rows, target
        )
        return True

    def _grow(self, row_bytes: int) -> None:
        if self._limit_bytes is None or self._failed_bytes is None:
            return
        self._clean_batches += 1
        if self._clean_batches < CLEAN_BATCHES_BEFORE_GROWTH:
            return
        self._clean_batches = 0
        row_bytes = max(1, row_bytes)
        steps = ladder((self._failed_bytes - 1) // row_bytes + self._replicas, self._replicas)
        larger = [
            size for size in steps if self._limit_bytes < size * row_bytes < self._failed_bytes
        ]
        if larger:
            self._limit_bytes = larger[0] * row_bytes
            _LOG.info("the memory held out; batches of up to %d rows again", larger[0])
