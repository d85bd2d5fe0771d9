"""Where a process's time goes: seconds by stage, cheap enough to be measured always."""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

# In the order in which a row meets them. The host's run in the threads that have splits open,
# or in threads that these have of their own, the others in the dispatcher's.
READ, DECODE, QUEUE = "read", "decode", "queue"
HOST_TO_DEVICE, STEP, GATHER = "host_to_device", "step", "gather"
WRITE = "write"
STAGES = (READ, DECODE, QUEUE, HOST_TO_DEVICE, STEP, GATHER, WRITE)
HOST_STAGES = (READ, DECODE, WRITE)

# Not stages: while a stage waits for another thread's, and while any batch is on the devices.
WAIT, BUSY = "wait", "busy"

# A process that serves more jobs than that at a time forgets where the oldest began.
_MOST_JOBS = 16

_Item = TypeVar("_Item")
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class _Total:
    __slots__ = ("active", "cpu_seconds", "most_active", "seconds", "times")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.times = 0
        self.active = 0
        self.most_active = 0

    def enter(self) -> None:
        """Counts a thread, or a split that is open."""
        self.active += 1
        self.most_active = max(self.most_active, self.active)


class _Mark(NamedTuple):
    """What the totals were when a job began."""

    began: float
    totals: dict[str, tuple[float, float]]


class _Timer:
    """One stay in a stage; stages that it enters meanwhile do not count for it."""

    __slots__ = (
        "_counts", "_cpu", "_nested", "_nested_cpu", "_outer", "_started", "_times", "_total",
    )  # fmt: skip

    def __init__(self, times: StageTimes, total: _Total) -> None:
        self._times = times
        self._total = total

    def __enter__(self) -> None:
        local = self._times.local
        self._outer = getattr(local, "timer", None)
        local.timer = self
        self._nested = self._nested_cpu = 0.0
        # A stay within one of the same stage is no other thread's.
        self._counts = int(self._outer is None or self._outer._total is not self._total)
        if self._counts:
            with self._times.lock:
                self._total.enter()
        self._cpu = time.thread_time()
        self._started = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        seconds = time.perf_counter() - self._started
        cpu = time.thread_time() - self._cpu
        outer = self._outer
        self._times.local.timer = outer
        if outer is not None:
            outer._nested += seconds
            outer._nested_cpu += cpu
        total = self._total
        with self._times.lock:
            total.active -= self._counts
            total.seconds += seconds - self._nested
            total.cpu_seconds += cpu - self._nested_cpu
            total.times += 1

    def so_far(self) -> Iterator[tuple[_Total, float, float]]:
        """The seconds, on the clock and of the CPU, of this stay and those around it."""
        timer: _Timer | None = self
        seconds = cpu = 0.0
        now, cpu_now = time.perf_counter(), time.thread_time()
        while timer is not None:
            whole, whole_cpu = now - timer._started, cpu_now - timer._cpu
            yield (
                timer._total,
                whole - timer._nested - seconds,
                whole_cpu - timer._nested_cpu - cpu,
            )
            seconds, cpu = whole, whole_cpu
            timer = timer._outer


class StageTimes:
    """Totals of all threads of a process.

    Seconds on the clock hold waiting for storage, for cores and for Python's lock; CPU seconds
    are those of the thread itself, without the threads of Arrow and TensorFlow that worked for
    it. A stage costs a few microseconds: time blocks and batches, never rows.

    Attributes:
      on_batch: called with the number of batches so far, after each, where it is set.
    """

    def __init__(self) -> None:
        # Collecting an abandoned generator may end a split within any of the sections.
        self.lock = threading.RLock()
        self.local = threading.local()
        self.on_batch: Callable[[int], None] | None = None
        self._totals = {name: _Total() for name in (*STAGES, WAIT, BUSY)}
        self._splits = _Total()
        self._marks: collections.OrderedDict[str, _Mark] = collections.OrderedDict()

    @property
    def times(self) -> int:
        """How often something was timed so far."""
        return sum(total.times for total in self._totals.values())

    def stage(self, name: str) -> _Timer:
        """A context that counts for a stage, and not for the one around it.

        Raises:
          KeyError: there is no such stage.
        """
        return _Timer(self, self._totals[name])

    def timed(
        self, name: str
    ) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
        """A decorator: calls of the function count for a stage."""

        def decorate(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
            @functools.wraps(function)
            def call(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
                with self.stage(name):
                    return function(*args, **kwargs)

            return call

        return decorate

    def each(self, name: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """The same items; waiting for the next one counts for a stage, using it does not."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    @contextlib.contextmanager
    def split(self) -> Iterator[None]:
        """A context while a thread has a split open: it counts how many threads read at once."""
        with self.lock:
            self._splits.enter()
        try:
            yield
        finally:
            with self.lock:
                self._splits.active -= 1

    def add(self, name: str, seconds: float) -> None:
        """Adds seconds that were measured elsewhere; negative ones take some away."""
        total = self._totals[name]
        with self.lock:
            total.seconds += seconds
            total.times += 1
            total.most_active = max(1, total.most_active)

    def add_batch(self, seconds: float) -> None:
        """Adds the seconds of a batch during which no other batch was on the devices."""
        self.add(BUSY, seconds)
        if self.on_batch is not None:
            self.on_batch(self._totals[BUSY].times)

    def begin(self, job: str) -> None:
        """Says that a job is at work from now on; the first call of a job counts."""
        if job in self._marks:
            return
        with self.lock:
            if job in self._marks:
                return
            self._marks[job] = _Mark(
                time.perf_counter(),
                {name: (total.seconds, total.cpu_seconds) for name, total in self._totals.items()},
            )
            for total in (*self._totals.values(), self._splits):
                total.most_active = total.active
            if len(self._marks) > _MOST_JOBS:
                self._marks.popitem(last=False)

    def describe(self, job: str) -> dict[str, Any]:
        """What this process did since a job began, as plain values.

        A stay of the calling thread in a stage counts up to now, those of other threads when
        they end. Jobs that run at the same time in one process are not told apart.

        Returns:
          `wall_seconds`, `busy_seconds` during which a batch was on the devices, and for each
          stage in `stages` its `seconds`, `cpu_seconds` and `threads`, the most that were in it
          at once; of the host's stages at least those that had a split open.
          Nothing where the job did not begin in this process.
        """
        timer: _Timer | None = getattr(self.local, "timer", None)
        running = {} if timer is None else {id(t): more for t, *more in timer.so_far()}
        now = time.perf_counter()
        with self.lock:
            mark = self._marks.get(job)
            if mark is None:
                return {}
            stages = {}
            for name in STAGES:
                total = self._totals[name]
                seconds, cpu_seconds = running.get(id(total), (0.0, 0.0))
                before, cpu_before = mark.totals[name]
                stages[name] = {
                    "seconds": round(max(0.0, total.seconds + seconds - before), 6),
                    "cpu_seconds": round(
                        max(0.0, total.cpu_seconds + cpu_seconds - cpu_before), 6),
                    "threads": max(
                        total.most_active, self._splits.most_active if name in HOST_STAGES else 0),
                }  # fmt: skip
            busy = self._totals[BUSY].seconds - mark.totals[BUSY][0]
        return {
            "wall_seconds": round(now - mark.began, 6),
            "busy_seconds": round(busy, 6),
            "stages": stages,
        }


STAGE_TIMES = StageTimes()
