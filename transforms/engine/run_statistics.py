"""What a predictor ran so far, as one or several dispatchers count it."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Sequence


@dataclasses.dataclass
class RunStatistics:
    """What was run so far.

    Attributes:
      rows: predicted rows.
      padded_rows: rows that were run only to fill a batch.
      batches: how often each batch size was run; of the devices that ran it together.
      busy_seconds: time that the devices, and copying to and from them, took.
      out_of_memory: how many batches did not fit.
      shared_batches: how many had rows that several threads submitted.
    """

    rows: int = 0
    padded_rows: int = 0
    batches: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    busy_seconds: float = 0.0
    out_of_memory: int = 0
    shared_batches: int = 0


def add_up(parts: Sequence[RunStatistics], busy_seconds: float) -> RunStatistics:
    """What several dispatchers ran, which were busy at the same time."""
    batches: collections.Counter[int] = collections.Counter()
    for part in parts:
        # A copy is made at once; a dispatcher may be counting.
        batches.update(part.batches.copy())
    return RunStatistics(
        sum(part.rows for part in parts),
        sum(part.padded_rows for part in parts),
        batches,
        busy_seconds,
        sum(part.out_of_memory for part in parts),
        sum(part.shared_batches for part in parts),
    )


class BusyClock:
    """Seconds during which at least one batch was under way."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._under_way = 0
        self._since = 0.0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """A batch begins."""
        with self._lock:
            if not self._under_way:
                self._since = time.perf_counter()
            self._under_way += 1

    def end(self, counts: bool = True) -> float:
        """A batch ended; gives the seconds that were added, since the last one ended or began.

        Args:
          counts: whether it ran to its end.
        """
        with self._lock:
            now = time.perf_counter()
            added = now - self._since if counts else 0.0
            self.seconds += added
            self._since = now
            self._under_way -= 1
            return added
