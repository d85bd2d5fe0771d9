"""How many bytes a batch takes on a device: a straight line through measured peaks."""

from __future__ import annotations

import collections
import dataclasses
import math
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from transforms.engine.replicas import Replicas

_T = TypeVar("_T")

# TensorFlow's allocator leaves up to 128 MiB of a chunk unused without splitting it: only where
# peaks differ by more do they tell alone what a row takes.
_TELLING_BYTES = 256 << 20
# Until then they may say that rows take up to so much more than the trace says.
_MOST_STEEPER = 1.25


@dataclasses.dataclass(frozen=True)
class MemoryFit:
    """The peak of one replica as a line over its rows.

    Attributes:
      fixed_bytes: weights, constants, and whatever else the process held on the device.
      bytes_per_row: what each row adds.
    """

    fixed_bytes: int
    bytes_per_row: float

    def bytes_for(self, rows: int) -> int:
        """Peak bytes of a replica with so many rows."""
        return self.fixed_bytes + math.ceil(self.bytes_per_row * rows)

    def rows_within(self, limit_bytes: int) -> int:
        """The most rows of a replica that stay within a limit; 0 where not even the weights do.

        Rows that take nothing always fit: `sys.maxsize`.
        """
        left_bytes = limit_bytes - self.fixed_bytes
        if left_bytes < 0:
            return 0
        if self.bytes_per_row <= 0:
            return sys.maxsize
        return min(sys.maxsize, math.floor(left_bytes / self.bytes_per_row))


def fit(
    points: Sequence[tuple[int, int]], *, slopes: tuple[float, float] = (0.0, math.inf)
) -> MemoryFit:
    """Draws a line that no measured peak is above.

    Its slope is that of least squares, so that no single peak, which the allocator's chunks
    round up by as much as 40 %, decides it; then the line is raised to the highest of them.
    Peaks bend upwards at most, as an operation that is small with few rows becomes the largest:
    a line from small batches may be too flat for large ones, until those are among the points.

    Args:
      points: rows and peak bytes of one replica.
      slopes: bytes per row that the line has at least and at most. Where all points are of one
        size it has the least; without one such points count as taken by the rows alone, which
        overstates what more rows need.

    Raises:
      ValueError: there are no points, or one has no rows.
    """
    if not points or any(rows < 1 for rows, _ in points):
        raise ValueError(f"expected points of at least one row. Received: {list(points)}.")
    mean_rows = sum(rows for rows, _ in points) / len(points)
    mean_bytes = sum(peak for _, peak in points) / len(points)
    spread = sum((rows - mean_rows) ** 2 for rows, _ in points)
    if spread == 0:
        slope = slopes[0] or max(peak for _, peak in points) / mean_rows
    else:
        together = sum((rows - mean_rows) * (peak - mean_bytes) for rows, peak in points)
        slope = together / spread
    slope = max(0.0, slopes[0], min(slope, slopes[1]))
    fixed = max(peak - slope * rows for rows, peak in points)
    return MemoryFit(max(0, math.ceil(fixed)), slope)


class MemoryModel:
    """What is known of a step's memory, from its trace and from every batch that was measured.

    Not for several threads at once.
    """

    def __init__(self, estimate: MemoryFit | None = None) -> None:
        """Starts from an estimate, whose slope rules until measured peaks differ by 256 MiB.

        Args:
          estimate: of the trace; None where there is none.
        """
        self.estimate = estimate
        self._peaks: dict[int, int] = {}

    @property
    def points(self) -> tuple[tuple[int, int], ...]:
        """Rows of one replica and the highest peak that was measured with them, ascending."""
        return tuple(sorted(self._peaks.items()))

    @property
    def fit(self) -> MemoryFit | None:
        """The line as it is known so far; None where nothing is."""
        if not self._peaks:
            return self.estimate
        rise = max(self._peaks.values()) - min(self._peaks.values())
        if self.estimate is None or rise >= _TELLING_BYTES:
            return fit(self.points)
        slope = self.estimate.bytes_per_row
        return fit(self.points, slopes=(slope, slope * _MOST_STEEPER))

    def observe(self, rows: int, peak_bytes: int) -> None:
        """Adds what a batch took.

        Args:
          rows: of one replica, with padding.
          peak_bytes: of that replica, weights and all.
        """
        self._peaks[rows] = max(peak_bytes, self._peaks.get(rows, 0))


class PeakMeter:
    """Reads the highest memory use of one replica since it was started.

    Each GPU has an allocator of its own: the replica with the highest peak counts. All logical
    CPUs share one, which counts the process as a whole: there a replica is taken to have an
    equal part of it, and batches of another model that run at the same time add to it.
    """

    def __init__(self, replicas: Replicas) -> None:
        """Args:
        replicas: whose devices are watched.
        """
        self._is_gpu = replicas.kind == "GPU"
        self._share = replicas.count if replicas.kind == "CPU" else 1
        self._devices = replicas.devices[:1] if replicas.kind == "CPU" else replicas.devices
        # One counter of starts for each allocator.
        self._allocators = ("CPU",) if replicas.kind == "CPU" else replicas.devices
        self._started: tuple[int, ...] | None = None

    def start(self) -> None:
        """Forgets earlier peaks. Whoever else was measuring on these devices gets None."""
        import tensorflow as tf

        with _starts_lock:
            try:
                for device in self._devices:
                    if self._is_gpu:
                        _keep_highest(device)
                    tf.config.experimental.reset_memory_stats(device)
            except ValueError:
                # TensorFlow's word for an allocator without statistics.
                self._started = None
                return
            for allocator in self._allocators:
                _starts[allocator] += 1
            self._started = tuple(_starts[allocator] for allocator in self._allocators)

    def peak_bytes(self) -> int | None:
        """The highest use since `start`, weights included; call it when the batch is done.

        Returns:
          None where the allocator keeps no statistics, or another meter was started meanwhile.
        """
        import tensorflow as tf

        with _starts_lock:
            now = tuple(_starts[allocator] for allocator in self._allocators)
            if self._started is None or now != self._started:
                return None
            peaks = [
                tf.config.experimental.get_memory_info(device)["peak"] for device in self._devices
            ]
        return math.ceil(max(peaks) / self._share)

    def measure(self, call: Callable[[], _T]) -> tuple[_T, int | None]:
        """Calls a function that returns when its batch is done; gives its result and the peak."""
        self.start()
        result = call()
        return result, self.peak_bytes()


def highest_bytes(device: str) -> int:
    """The most that the process ever used on a GPU, whatever meters have forgotten.

    TensorFlow's allocator keeps what it once took from the GPU: it holds at least that. 0 where
    it keeps no statistics.
    """
    with _starts_lock:
        try:
            return _keep_highest(device)
        except ValueError:
            return 0


def _keep_highest(device: str) -> int:
    import tensorflow as tf

    peak = int(tf.config.experimental.get_memory_info(device)["peak"])
    _highest[device] = max(peak, _highest.get(device, 0))
    return _highest[device]


_starts_lock = threading.Lock()
_starts: collections.Counter[str] = collections.Counter()
_highest: dict[str, int] = {}
