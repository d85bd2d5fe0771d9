"""Groups of rows in, futures of named outputs out: the one user of a model in a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from transforms.engine.batch_runner import BatchRunner
from transforms.engine.group_queue import QUEUE_BYTES, DemandingFuture, GroupQueue
from transforms.engine.groups import Group, Scored
from transforms.engine.lane import Lane
from transforms.engine.preprocessing import Preprocess
from transforms.engine.recovery import WAITS_SECONDS
from transforms.engine.replicas import Dispatch, Replicas
from transforms.engine.run_statistics import BusyClock, RunStatistics, add_up
from transforms.engine.shared_sizing import share_sizer
from transforms.engine.signature import Signature, TensorField
from transforms.engine.sizing import BatchSizer
from transforms.engine.slicing import Columns, slice_for_replicas
from transforms.engine.step import CallableModel
from transforms.engine.warmup import WarmUp


class Predictor:
    """Runs a model on every replica for whoever submits rows.

    One daemon thread, the dispatcher, joins and cuts what is queued into device batches, so
    that several bundles fill one batch. With `mirrored` dispatch every batch is cut into a slice
    for each device, and all run it in lock step. With `independent` dispatch each device has a
    dispatcher of its own, which takes the next part of a global batch as soon as the device is
    done with its last.
    """

    def __init__(
        self,
        model: CallableModel,
        replicas: Replicas,
        *,
        fields: Sequence[TensorField] | None = None,
        preprocess: Preprocess | None = None,
        rows: int | Literal["auto"] = "auto",
        max_wait_seconds: float | None = None,
        queue_bytes: int = QUEUE_BYTES,
        xla: bool = False,
        dispatch: Dispatch = "mirrored",
        tuned_rows: int | None = None,
        on_tuned: Callable[[BatchSizer], None] | None = None,
        waits_seconds: Sequence[float] = WAITS_SECONDS,
    ) -> None:
        """Traces and warms up where the fields are known, and starts the dispatchers.

        Args:
          model: loaded in the scope of the replicas' strategy.
          replicas: the devices.
          fields: the columns that groups have. Default: the model's inputs; with `preprocess`
            what the first group holds.
          preprocess: a function of tensors by column name, traced into the step.
          rows: the global batch, or `auto`.
          max_wait_seconds: longest time to hold rows back to fill a batch.
          queue_bytes: input bytes that may be under way; `submit` blocks beyond it.
          xla: compile the step.
          dispatch: one step over all devices, or one for each by itself.
          tuned_rows: a global batch that was found before; nothing is searched then.
          on_tuned: called when the search has ended, and when what it found did not fit.
          waits_seconds: pauses before one row per replica, which did not fit, is tried again.

        Raises:
          SetupError: the step cannot be traced.
        """
        self.replicas = replicas
        self.sizer = BatchSizer(
            replicas.count, requested=rows, most_bytes=queue_bytes // 2, tuned=tuned_rows
        )
        self._on_tuned = on_tuned
        self._model = model
        self._queue = GroupQueue(queue_bytes, max_wait_seconds)
        self._busy = BusyClock()
        self._tuned_lock = threading.Lock()
        if fields is None and preprocess is None:
            fields = model.signature.inputs
        parts = replicas.apart() if dispatch == "independent" else (replicas,)
        sizes = share_sizer(self.sizer, len(parts))
        self._lanes = [
            Lane(
                BatchRunner(model, part, size, fields=fields, preprocess=preprocess, xla=xla),
                self._queue,
                size,
                self._busy,
                on_tuned=self._tell_tuned,
                waits_seconds=waits_seconds,
            )
            for part, size in zip(parts, sizes, strict=True)
        ]
        self._runners = [lane.runner for lane in self._lanes]
        # One after the other: logical CPUs share an allocator.
        for runner in self._runners:
            runner.probe_memory()
        self._pool = ThreadPoolExecutor(len(parts), thread_name_prefix="mirrorbeam-together")
        self._together(BatchRunner.run_first)
        self.ready_at = time.time()
        self._dispatchers = [
            lane.start(f"mirrorbeam-dispatcher-{index}") for index, lane in enumerate(self._lanes)
        ]

    @property
    def signature(self) -> Signature:
        """The loaded model's signature."""
        return self._model.signature

    @property
    def statistics(self) -> RunStatistics:
        """What was run so far; with independent dispatch a batch is one device's."""
        return add_up([runner.statistics for runner in self._runners], self._busy.seconds)

    @property
    def warm_up(self) -> WarmUp | None:
        """The pure model's rate; None where made-up rows could not measure it."""
        parts = [runner.warm_up for runner in self._runners]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return WarmUp(sum(part.rows for part in known), sum(part.rows_per_second for part in known))

    @property
    def outputs(self) -> tuple[TensorField, ...] | None:
        """Outputs as traced; None before the first group where nothing said what it holds."""
        return next(filter(None, (runner.outputs for runner in self._runners)), None)

    @property
    def is_static(self) -> bool:
        """Whether all rows have one known shape, so that a batch size in rows can be kept."""
        return any(runner.is_static for runner in self._runners)

    @property
    def traces(self) -> int:
        """How often a replica's part of the step was traced, in all."""
        return sum(runner.traces for runner in self._runners)

    @property
    def batch_rows(self) -> int:
        """Most rows of a global batch as it stands: of all devices together."""
        return max(runner.batch_rows for runner in self._runners) * len(self._runners)

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more groups."""
        return self._queue.is_closed

    @property
    def rows_in_batches(self) -> int:
        """Rows that fill one batch of every shape that is waiting."""
        return self.batch_rows if self.is_static else self.batch_rows * self._queue.shapes

    def submit(self, columns: Columns, length_class: int = 0) -> Future[Scored]:
        """Queues a group of rows.

        Blocks while more bytes are under way than the queue's bound; a group that is larger
        than the bound is let in alone.

        Args:
          columns: by field name, arrays `[rows, …]` of the fields' dtypes; strings as objects.
            Not to be changed before the future is done. All rows have one shape.
          length_class: rows of different classes never share a batch.

        Returns:
          The group's rows, predicted or failed.

        Raises:
          ValueError: the columns differ in length.
          RuntimeError: the predictor is closed, or its dispatcher failed.
        """
        future = DemandingFuture(self._queue)
        if not self._queue.put(Group(columns, future, length_class)):
            raise RuntimeError("expected an open predictor. Received: one that was closed.") from (
                next(filter(None, (lane.failure for lane in self._lanes)), None)
            )
        return future

    def predict(self, columns: Columns) -> Scored:
        """Submits a group and waits for it."""
        result: Scored = self.submit(columns).result()
        return result

    def time_batch(self, columns: Columns) -> float:
        """Runs rows as one global batch, past the queue, and gives the seconds that it took.

        Raises:
          ValueError: the rows do not divide by the devices.
          tf.errors.OpError: what the step raised; nothing is tried again.
        """
        if len(self._runners) == 1:
            return self._runners[0].time(columns)
        parts = dict(
            zip(self._runners, slice_for_replicas(columns, len(self._runners)), strict=True)
        )
        started = time.perf_counter()
        self._together(lambda runner: runner.time(parts[runner]))
        return time.perf_counter() - started

    def close(self) -> None:
        """Lets the dispatchers finish what is queued and end. May be called again."""
        self._queue.close()
        for dispatcher in self._dispatchers:
            if dispatcher is not threading.current_thread():
                dispatcher.join()
        self._pool.shutdown()

    def _together(self, run: Callable[[BatchRunner], object]) -> None:
        """Calls a function for every dispatcher's devices at the same time."""
        if len(self._runners) == 1:
            run(self._runners[0])
            return
        for future in [self._pool.submit(run, runner) for runner in self._runners]:
            future.result()

    def _tell_tuned(self) -> None:
        # A size found for one of many possible shapes is of no use to others.
        if self._on_tuned is not None and self.is_static and self.sizer.is_tuned:
            with self._tuned_lock:
                self._on_tuned(self.sizer)
