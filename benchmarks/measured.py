"""What a run takes: wall time, CPU time and memory of a process and of those below it."""

from __future__ import annotations

import math
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

_SAMPLE_SECONDS = 0.5
# Of a sum of scores; single rows that are swapped or lost move it by more only in small jobs.
_RTOL = 1e-6


class Seen:
    """The rows that came out of a contender which scores in memory."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the rows of a warm-up."""
        self.rows = 0
        self.checksum = 0.0

    def block(self, scores: np.ndarray) -> None:
        """Counts the rows of `scores[n, outputs]` and adds up their first output."""
        self.rows += len(scores)
        self.checksum += float(scores[:, 0].sum(dtype=np.float64))

    def count(self, rows: int) -> None:
        """Counts rows that have no scores."""
        self.rows += rows

    def row(self, scores: np.ndarray) -> None:
        """The same for one row, `scores[outputs]`."""
        self.rows += 1
        self.checksum += float(scores[0])

    def check(self, rows: int, checksum: float) -> None:
        """Compares with what the bare model gives.

        Raises:
          ValueError: other rows, or other scores.
        """
        if self.rows != rows:
            raise ValueError(f"expected {rows} rows. Received: {self.rows}.")
        if not math.isclose(self.checksum, checksum, rel_tol=_RTOL, abs_tol=_RTOL * rows):
            raise ValueError(
                f"expected scores that add up to {checksum}. Received: {self.checksum}."
            )


# What the contender of this process has shown.
SEEN = Seen()


class Meter:
    """Figures of one run: `with meter.clock(): …`, then `figures()`."""

    def __init__(self, tree: bool) -> None:
        """Takes whether processes below this one do the work."""
        self._tree = tree
        self._peak_bytes = 0
        self._clock: dict[str, float] = {}

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Takes wall and CPU seconds of what runs inside."""
        done = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(done,), daemon=True)
        if self._tree:
            sampler.start()
        cpu, wall = self._cpu_seconds(), time.perf_counter()
        yield
        self._clock = {
            "wall_seconds": time.perf_counter() - wall,
            "cpu_seconds": self._cpu_seconds() - cpu,
        }
        done.set()
        if self._tree:
            sampler.join()

    def figures(self) -> dict[str, float]:
        """The clock's figures, and the peak of resident memory since the process started."""
        # In KiB, of the largest process that has ended.
        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        peak = max(self._peak_bytes, peak_resident_bytes(), ended)
        return self._clock | {"peak_mib": peak / 2**20}

    def _cpu_seconds(self) -> float:
        return tree_cpu_seconds() if self._tree else own_cpu_seconds()

    def _sample(self, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_SECONDS):
            self._peak_bytes = max(self._peak_bytes, tree_resident_bytes())


def peak_resident_bytes() -> int:
    """The most that this process has had resident.

    `ru_maxrss` would start with what the parent had at the fork.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("expected VmHWM in /proc/self/status. Received: none; run on Linux.")


def own_cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has started and that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def tree_resident_bytes() -> int:
    """Resident bytes of this process and those below it, shared pages counted once."""
    return int(_sum_over_tree(lambda process: process.memory_full_info().pss))


def tree_cpu_seconds() -> float:
    """CPU seconds of this process and those below it, with those that have ended."""
    # User and system time, its own and its ended children's.
    return _sum_over_tree(lambda process: sum(process.cpu_times()[:4]))


def _sum_over_tree(figure: Callable[[Any], float]) -> float:
    import psutil

    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        # One that ends meanwhile is in its parent's figures.
        with suppress(psutil.NoSuchProcess):
            total += figure(process)
    return total
