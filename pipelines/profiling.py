"""`--profile DIR`: a TensorFlow trace of a few steps, and where the Python code spends its time.

The trace is of one process at most 20 steps or 30 seconds long, from the first batch on; the
engine has warmed up before. The Python profile is of the threads that read, predict and write,
with the standard library's `profile`, which knows threads (`cProfile` does not from Python 3.12
on) and slows Python code down.
"""

from __future__ import annotations

import contextlib
import logging
import marshal
import os
import platform
import profile
import pstats
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import apache_beam as beam

from pipelines import storage
from transforms.engine.stage_times import STAGE_TIMES

TRACED_STEPS = 20
_MOST_SECONDS = 30.0
_ENDS = ("return", "c_return", "c_exception", "exception")

_LOG = logging.getLogger(__name__)


class StepTrace:
    """A trace of a process's first steps, for TensorBoard; TensorFlow allows one at a time."""

    def __init__(self, folder: str) -> None:
        """Starts it; where another profiler runs already, there is none of ours."""
        import tensorflow as tf

        self._folder = folder
        self._local = folder if storage.is_local(folder) else tempfile.mkdtemp()
        self._lock = threading.Lock()
        self._first: int | None = None
        self._started = time.monotonic()
        self._is_running = True
        try:
            tf.profiler.experimental.start(self._local)
        except tf.errors.AlreadyExistsError as error:
            self._is_running = False
            _LOG.warning("no trace of the steps: %s", error.message)
            return
        STAGE_TIMES.on_batch = self._count

    def stop(self) -> None:
        """Writes the trace; may be called again."""
        import tensorflow as tf

        with self._lock:
            if not self._is_running:
                return
            self._is_running = False
            STAGE_TIMES.on_batch = None
            tf.profiler.experimental.stop()
        if self._local != self._folder:
            _copy(self._local, self._folder)
            shutil.rmtree(self._local)
        _LOG.info("a trace of the steps is in %s", self._folder)

    def _count(self, batches: int) -> None:
        if self._first is None:
            self._first = batches - 1
        is_long = time.monotonic() - self._started > _MOST_SECONDS
        if is_long or batches - self._first >= TRACED_STEPS:
            self.stop()


class ProcessProfile:
    """What is profiled in one process for one job.

    Attributes:
      stats: of all threads so far; None before the first has ended.
    """

    def __init__(self, folder: str) -> None:
        """Starts the trace of the steps."""
        self._folder = folder
        self._lock = threading.Lock()
        self._open = 0
        self.stats: pstats.Stats | None = None
        self._trace = StepTrace(folder)

    def start_thread(self) -> profile.Profile:
        """Profiles the calling thread from here on."""
        with self._lock:
            self._open += 1
        profiler = profile.Profile()
        sys.setprofile(_tolerant(profiler))
        return profiler

    def stop_thread(self, profiler: profile.Profile) -> None:
        """Ends the calling thread's profile and writes what all have so far."""
        sys.setprofile(None)
        with self._lock:
            self._open -= 1
            is_last = self._open == 0
            found = pstats.Stats(profiler)
            self.stats = found if self.stats is None else self.stats.add(found)
            name = f"python-{platform.node()}-{os.getpid()}.pstats"
            with storage.create(storage.join(self._folder, name)) as file:
                file.write(marshal.dumps(self.stats.stats))  # type: ignore[attr-defined]
        if is_last:
            # Nothing tells a worker that the job is over.
            self._trace.stop()


class ProfileDoFn(beam.DoFn):
    """Profiles the bundles of a fused stage that it is the last one of.

    Beam starts a stage's bundle at its end and finishes it there, all in one thread.
    """

    def __init__(self, folder: str, job: str) -> None:
        """Takes where to write, and the run's own name."""
        self._folder = folder
        self._job = job
        self._profiler: profile.Profile | None = None

    def start_bundle(self) -> None:
        """Profiles this thread; the process's first bundle starts the trace."""
        self._profile = profile_of(self._job, self._folder)
        self._profiler = self._profile.start_thread()

    def process(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yields the record."""
        yield record

    def finish_bundle(self) -> None:
        """Writes what was found."""
        if self._profiler is not None:
            self._profile.stop_thread(self._profiler)
            self._profiler = None


def _tolerant(profiler: Any) -> Callable[[FrameType, str, Any], None]:
    """The profiler's hook, for a thread that is deep in calls which it has not seen begin."""

    def hook(frame: FrameType, event: str, argument: Any) -> None:
        is_outside = isinstance(profiler.cur[-2], profile.Profile.fake_frame)  # type: ignore
        if is_outside and event in _ENDS:
            return
        # A generator that is thrown away returns without a call, which ends a profile.
        with contextlib.suppress(AssertionError):
            profiler.dispatcher(frame, event, argument)

    return hook


_PROFILES: dict[str, ProcessProfile] = {}
_profiles_lock = threading.Lock()


def profile_of(job: str, folder: str) -> ProcessProfile:
    """The process's profile of a job; the first call starts it."""
    with _profiles_lock:
        if job not in _PROFILES:
            _PROFILES.clear()
            _PROFILES[job] = ProcessProfile(folder)
        return _PROFILES[job]


def _copy(source: str, target: str) -> None:
    for path in storage.list_files(source):
        place = storage.join(target, *os.path.relpath(path, source).split(os.sep))
        with contextlib.closing(storage.create(place)) as file, open(path, "rb") as local:
            shutil.copyfileobj(local, file)
