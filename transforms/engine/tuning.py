"""The smallest batch within two percent of the best rate, found on the job's own batches."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

# A larger batch takes more memory and waits longer: it must be worth it.
TOLERANCE = 0.02
# The first batch of a size chooses kernels and grows the allocator; it does not count.
_MEASURED_BATCHES = 4
# Two steps that gain nothing end the way up, two that lose much the way down: one may be noise.
_STEPS_WITHOUT_GAIN = 2
_MUCH = 0.3
# Sizes that are so near to the best are run again in turn, so often: what else the machine does
# lasts longer than the few batches of one size.
_NEAR = 0.3
_ROUNDS = 4


@dataclasses.dataclass(frozen=True)
class TunedSize:
    """One size that was measured.

    Attributes:
      rows: the global batch.
      rows_per_second: its best rate, over the time that the devices were busy.
    """

    rows: int
    rows_per_second: float


class RateTuner:
    """Proposes sizes and learns from their times; a hill climb with a memory of every size.

    Starts where the rule of thumb starts, doubles while that pays, then halves until much is
    lost, which costs no more rows than one more batch of the start each time; then runs again
    what came near. In the manner of the quick search of Triton's model analyzer, which reaches
    most of the gain in a fraction of the sizes.
    """

    def __init__(self, sizes: Sequence[int], start: int) -> None:
        """Begins a search.

        Args:
          sizes: sizes that fit, ascending.
          start: the size to begin with; the nearest smaller one is taken.
        """
        self._start = max((size for size in sizes if size <= start), default=sizes[0])
        self._up = _doubling(self._start, [size for size in sizes if size > self._start])
        self._down = _doubling(self._start, [size for size in sizes if size < self._start][::-1])
        self._seconds: dict[int, list[float]] = collections.defaultdict(list)
        self._rates: dict[int, float] = {}
        self._without_gain = 0
        self._again: list[int] | None = None
        self.current = self._start
        self.is_done = False

    @property
    def measured(self) -> list[TunedSize]:
        """Every size that was measured, ascending."""
        return [TunedSize(rows, self._rates[rows]) for rows in sorted(self._rates)]

    @property
    def chosen(self) -> int:
        """The smallest size within the tolerance of the best; where none is measured, the first."""
        if not self._rates:
            return self.current
        best = max(self._rates.values())
        return min(rows for rows, rate in self._rates.items() if rate >= (1 - TOLERANCE) * best)

    def observe(self, rows: int, seconds: float) -> None:
        """Takes one clean batch into account; others than of the current size say nothing."""
        if self.is_done or rows != self.current:
            return
        if self._again is not None:
            self.confirm(rows, seconds)
            self._next()
            return
        times = self._seconds[rows]
        times.append(seconds)
        if len(times) < _MEASURED_BATCHES:
            return
        best_before = max(self._rates.values(), default=0.0)
        rate = rows / max(min(times[1:]), 1e-9)
        self._rates[rows] = rate
        self._go_on(rows, rate, best_before)

    def confirm(self, rows: int, seconds: float) -> None:
        """Takes another batch of a measured size into account; that of a search is `observe`'s."""
        if rows in self._rates:
            self._rates[rows] = max(self._rates[rows], rows / max(seconds, 1e-9))

    def forbid(self, rows: int) -> None:
        """Gives up sizes of `rows` and more, which did not fit."""
        self._up = [size for size in self._up if size < rows]
        self._down = [size for size in self._down if size < rows]
        self._rates = {size: rate for size, rate in self._rates.items() if size < rows}
        if self._again is not None:
            self._again = [size for size in self._again if size < rows]
        if self.current >= rows and not self.is_done:
            self._next()

    def _go_on(self, rows: int, rate: float, best_before: float) -> None:
        if rows < self._start:
            is_worth_it = rate >= (1 - _MUCH) * best_before
        else:
            is_worth_it = rate > (1 + TOLERANCE) * best_before
        self._without_gain = 0 if is_worth_it else self._without_gain + 1
        if self._without_gain >= _STEPS_WITHOUT_GAIN:
            if rows < self._start:
                self._down = []
            self._up = []
        self._next()

    def _next(self) -> None:
        if self._up:
            self.current = self._up.pop(0)
            return
        if self._down:
            if self.current >= self._start:
                self._without_gain = 0
            self.current = self._down.pop(0)
            return
        if self._again is None:
            near = self._near
            self._again = near * _ROUNDS if len(near) > 1 else []
        if self._again:
            self.current = self._again.pop(0)
        else:
            self.is_done = True
            self.current = self.chosen

    @property
    def _near(self) -> list[int]:
        best = max(self._rates.values(), default=0.0)
        return [rows for rows, rate in sorted(self._rates.items()) if rate >= (1 - _NEAR) * best]


def _doubling(start: int, sizes: Sequence[int]) -> list[int]:
    """Of sizes in either direction, those that are about a factor of two apart."""
    taken: list[int] = []
    last = start
    for index, size in enumerate(sizes):
        following = sizes[index + 1] if index + 1 < len(sizes) else None
        ratio = max(size, last) / min(size, last)
        next_ratio = max(following, last) / min(following, last) if following else 0
        if ratio >= 2 or following is None or next_ratio > 2:
            taken.append(size)
            last = size
    return taken
