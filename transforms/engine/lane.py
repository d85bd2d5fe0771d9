"""One dispatcher: the thread that feeds devices which run in lock step, and what it needs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from transforms.engine.arrays import columns_row_bytes
from transforms.engine.batch_runner import BatchRunner, RunningBatch
from transforms.engine.errors import is_out_of_memory
from transforms.engine.group_queue import GroupQueue
from transforms.engine.groups import Group, Share, settle
from transforms.engine.read_back import OnHost
from transforms.engine.recovery import Recovery
from transforms.engine.run_statistics import BusyClock
from transforms.engine.sizing import Sizes
from transforms.engine.slicing import Columns, count_rows, join
from transforms.engine.stage_times import HOST_TO_DEVICE, STAGE_TIMES

_LOG = logging.getLogger(__name__)

# So many batches of one shape where any could come, and the next are taken to have it too.
_STEADY_BATCHES = 20


class _Launched(NamedTuple):
    shares: list[Share]
    columns: Columns
    batch: RunningBatch
    started: float

    @property
    def reading(self) -> Future[OnHost] | None:
        """What is done when the devices are; None where they already are."""
        return self.batch.outputs if isinstance(self.batch.outputs, Future) else None


class Lane:
    """Takes batches from the queue for its devices, and settles them.

    It never waits for more rows while its devices are idle, unless the queue says so; while a
    batch runs, the next one gathers. Several lanes may share a queue: each takes the next rows
    when it is done with its last, so that a slow device holds no other one.

    Attributes:
      runner: runs batches on the lane's devices.
      failure: what ended the lane before its time; None otherwise.
    """

    def __init__(
        self,
        runner: BatchRunner,
        queue: GroupQueue,
        sizes: Sizes,
        busy: BusyClock,
        *,
        on_tuned: Callable[[], None],
        waits_seconds: Sequence[float],
    ) -> None:
        """Args:
        runner: of the lane's devices.
        queue: what waits to be predicted.
        sizes: says how many rows a batch of the lane has.
        busy: counts the time of all lanes.
        on_tuned: called when a search for the batch size has ended, and when what it found did
          not fit.
        waits_seconds: pauses before one row per replica, which did not fit, is tried again.
        """
        self.runner = runner
        self.failure: BaseException | None = None
        self._queue = queue
        self._sizes = sizes
        self._busy = busy
        self._on_tuned = on_tuned
        self._last_key: object = None
        self._batches_alike = 0
        self._last_finish = 0.0
        self._recovery = Recovery(
            self._predict_now,
            runner.no_outputs,
            runner.probe,
            sizes,
            padded_rows=runner.padded,
            predicted_rows=runner.rows_after_failure,
            takes_made_up_rows=lambda: runner.warm_up is not None,
            waits_seconds=waits_seconds,
        )

    def start(self, name: str) -> threading.Thread:
        """Starts the dispatcher, which ends when the queue is closed and empty."""
        dispatcher = threading.Thread(target=self._dispatch, name=name, daemon=True)
        dispatcher.start()
        return dispatcher

    def _dispatch(self) -> None:
        shares: list[Share] = []
        under_way: _Launched | None = None
        try:
            while True:
                running = None if under_way is None else under_way.reading
                shares = self._queue.take(self._limit_rows, running)
                launched = self._launch(shares) if shares else None
                if under_way is not None:
                    self._finish(under_way)
                under_way = launched
                if under_way is not None and under_way.reading is None:
                    # On a CPU the step is over when the call returns.
                    self._finish(under_way)
                    under_way = None
                if under_way is None and self._queue.is_drained:
                    return
        except BaseException as error:
            _LOG.exception("the dispatcher failed; nothing more can be predicted")
            self.failure = error
            shares = shares + (under_way.shares if under_way else [])
            for group in [share.group for share in shares] + self._queue.clear():
                group.fail(error)
        finally:
            self.runner.close()

    def _launch(self, shares: list[Share]) -> _Launched | None:
        key = shares[0].group.key
        self._batches_alike = self._batches_alike + 1 if key == self._last_key else 0
        self._last_key = key
        # Joining groups is part of what a batch size costs.
        started = time.perf_counter()
        with STAGE_TIMES.stage(HOST_TO_DEVICE):
            columns = join([share.columns for share in shares])
        if count_rows(columns) == 0:
            self._queue.settled(settle(shares, self.runner.no_outputs(columns), {}))
            return None
        self._busy.begin()
        try:
            launched = _Launched(shares, columns, self.runner.run(columns), started)
        except Exception as error:
            self._recover(shares, columns, error)
            return None
        if launched.reading is not None:
            launched.reading.add_done_callback(lambda _: self._queue.wake())
        submitters = {share.group.submitter for share in shares}
        self.runner.statistics.shared_batches += len(submitters) > 1
        return launched

    def _finish(self, launched: _Launched) -> None:
        columns = launched.columns
        rows = count_rows(columns)
        try:
            outputs = self.runner.collect(launched.batch, rows)
        except Exception as error:
            self._recover(launched.shares, columns, error)
            return
        ended = launched.batch.ended_at_seconds
        seconds = ended - max(launched.started, self._last_finish)
        self._last_finish = ended
        STAGE_TIMES.add_batch(self._busy.end())
        is_steady = self._is_steady(launched.shares[0].group.key)
        if self._sizes.observe(rows, columns_row_bytes(columns), seconds, is_steady):
            self._on_tuned()
        self._queue.settled(settle(launched.shares, outputs, {}))

    def _recover(self, shares: list[Share], columns: Columns, error: Exception) -> None:
        self._busy.end(counts=False)
        self._count_out_of_memory(error)
        outputs, errors = self._recovery.predict(columns, error)
        self._last_finish = time.perf_counter()
        if is_out_of_memory(error):
            self._on_tuned()
        self._queue.settled(settle(shares, outputs, errors))

    def _predict_now(self, columns: Columns) -> dict[str, np.ndarray]:
        try:
            return self.runner.collect(self.runner.run(columns), count_rows(columns))
        except Exception as error:
            self._count_out_of_memory(error)
            raise

    def _count_out_of_memory(self, error: Exception) -> None:
        self.runner.statistics.out_of_memory += is_out_of_memory(error)

    def _limit_rows(self, group: Group) -> int:
        return self.runner.limit_rows(group.row_bytes, self._is_steady(group.key))

    def _is_steady(self, key: object) -> bool:
        """Whether a size in rows means something: all rows have one shape, or had it of late."""
        alike = key == self._last_key and self._batches_alike >= _STEADY_BATCHES
        return self.runner.is_static or alike
