"""Groups of rows in, futures of named outputs out: the one user of a model in a process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, NamedTuple

import numpy as np

from transforms.engine.arrays import columns_row_bytes
from transforms.engine.batch_runner import BatchRunner, RunningBatch, RunStatistics
from transforms.engine.errors import is_out_of_memory
from transforms.engine.group_queue import (
    QUEUE_BYTES,
    DemandingFuture,
    Group,
    GroupQueue,
    Scored,
    Share,
    settle,
)
from transforms.engine.recovery import WAITS_SECONDS, Recovery
from transforms.engine.replicas import Replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.sizing import BatchSizer
from transforms.engine.slicing import Columns, count_rows, join
from transforms.engine.stage_times import GATHER, HOST_TO_DEVICE, STAGE_TIMES, STEP
from transforms.engine.step import CallableModel, Preprocess
from transforms.engine.warmup import WarmUp

_LOG = logging.getLogger(__name__)

# So many batches of one shape where any could come, and the next are taken to have it too.
_STEADY_BATCHES = 20


class _Launched(NamedTuple):
    shares: list[Share]
    columns: Columns
    batch: RunningBatch
    started: float


class Predictor:
    """Runs a model on every replica for whoever submits rows.

    One daemon thread, the dispatcher, joins and cuts what is queued into device batches, so
    that several bundles fill one batch. It never waits for more rows while the devices are
    idle, unless `max_wait_seconds` says so; while a batch runs, the next one gathers.
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
        tuned_rows: int | None = None,
        on_tuned: Callable[[BatchSizer], None] | None = None,
        waits_seconds: Sequence[float] = WAITS_SECONDS,
    ) -> None:
        """Traces and warms up where the fields are known, and starts the dispatcher.

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
        self._failure: BaseException | None = None
        self._last_key: object = None
        self._batches_alike = 0
        self._last_finish = 0.0
        if fields is None and preprocess is None:
            fields = model.signature.inputs
        self._runner = BatchRunner(
            model, replicas, self.sizer, fields=fields, preprocess=preprocess, xla=xla
        )
        self._recovery = Recovery(
            self._predict_now,
            self._runner.no_outputs,
            self._runner.probe,
            self.sizer,
            padded_rows=self._runner.padded,
            row_bytes=columns_row_bytes,
            predicted_rows=self._runner.rows_after_failure,
            waits_seconds=waits_seconds,
        )
        self.ready_at = time.time()
        self._dispatcher = threading.Thread(
            target=self._dispatch, name="mirrorbeam-dispatcher", daemon=True
        )
        self._dispatcher.start()

    @property
    def signature(self) -> Signature:
        """The loaded model's signature."""
        return self._model.signature

    @property
    def statistics(self) -> RunStatistics:
        """What was run so far."""
        return self._runner.statistics

    @property
    def warm_up(self) -> WarmUp | None:
        """The pure model's rate; None where made-up rows could not measure it."""
        return self._runner.warm_up

    @property
    def outputs(self) -> tuple[TensorField, ...] | None:
        """Outputs as traced; None before the first group where nothing said what it holds."""
        return self._runner.outputs

    @property
    def is_static(self) -> bool:
        """Whether all rows have one known shape, so that a batch size in rows can be kept."""
        return self._runner.is_static

    @property
    def traces(self) -> int:
        """How often a replica's part of the step was traced, in all."""
        return self._runner.traces

    @property
    def batch_rows(self) -> int:
        """Most rows of a batch as it stands."""
        return self._runner.batch_rows

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
                self._failure
            )
        return future

    def predict(self, columns: Columns) -> Scored:
        """Submits a group and waits for it."""
        result: Scored = self.submit(columns).result()
        return result

    def time_batch(self, columns: Columns) -> float:
        """Runs rows as one batch, past the queue, and gives the seconds from arrays to arrays.

        Raises:
          tf.errors.OpError: what the step raised; nothing is tried again.
        """
        return self._runner.time(columns)

    def close(self) -> None:
        """Lets the dispatcher finish what is queued and end. May be called again."""
        self._queue.close()
        if threading.current_thread() is not self._dispatcher:
            self._dispatcher.join()

    # The dispatcher's thread.

    def _dispatch(self) -> None:
        shares: list[Share] = []
        under_way: _Launched | None = None
        try:
            while True:
                shares = self._queue.take(self._limit_rows, wait=under_way is None)
                launched = self._launch(shares) if shares else None
                if under_way is not None:
                    self._finish(under_way)
                under_way = launched
                if under_way is not None and self.replicas.kind == "CPU":
                    # On a CPU the step is over when the call returns.
                    self._finish(under_way)
                    under_way = None
                if under_way is None and self._queue.is_drained:
                    return
        except BaseException as error:
            _LOG.exception("the dispatcher failed; nothing more can be predicted")
            self._failure = error
            shares = shares + (under_way.shares if under_way else [])
            for group in [share.group for share in shares] + self._queue.clear():
                if not group.future.done():
                    group.future.set_exception(error)

    def _launch(self, shares: list[Share]) -> _Launched | None:
        key = shares[0].group.key
        self._batches_alike = self._batches_alike + 1 if key == self._last_key else 0
        self._last_key = key
        with STAGE_TIMES.stage(HOST_TO_DEVICE):
            columns = join([share.columns for share in shares])
        if count_rows(columns) == 0:
            self._settle(shares, self._runner.no_outputs(columns))
            return None
        started = time.perf_counter()
        try:
            return _Launched(shares, columns, self._runner.run(columns), started)
        except Exception as error:
            self._recover(shares, columns, error)
            return None

    def _finish(self, launched: _Launched) -> None:
        columns = launched.columns
        rows = count_rows(columns)
        # On a GPU the copy to the host waits for the step.
        waits_in = STEP if self.replicas.kind == "GPU" else GATHER
        try:
            with STAGE_TIMES.stage(waits_in):
                outputs = self._runner.collect(launched.batch, rows)
        except Exception as error:
            self._recover(launched.shares, columns, error)
            return
        now = time.perf_counter()
        seconds = now - max(launched.started, self._last_finish)
        self._last_finish = now
        self.statistics.busy_seconds += seconds
        STAGE_TIMES.add_batch(seconds)
        is_steady = self._is_steady(launched.shares[0].group.key)
        if self.sizer.observe(rows, columns_row_bytes(columns), seconds, is_steady):
            self._tell_tuned()
        self._settle(launched.shares, outputs)

    def _recover(self, shares: list[Share], columns: Columns, error: Exception) -> None:
        self._count_out_of_memory(error)
        outputs, errors = self._recovery.predict(columns, error)
        self._last_finish = time.perf_counter()
        if is_out_of_memory(error):
            self._tell_tuned()
        self._queue.settled(settle(shares, outputs, errors))

    def _tell_tuned(self) -> None:
        # A size found for one of many possible shapes is of no use to others.
        if self._on_tuned is not None and self.is_static and self.sizer.is_tuned:
            self._on_tuned(self.sizer)

    def _settle(self, shares: list[Share], outputs: Columns) -> None:
        self._queue.settled(settle(shares, outputs, {}))

    def _predict_now(self, columns: Columns) -> dict[str, np.ndarray]:
        try:
            return self._runner.collect(self._runner.run(columns), count_rows(columns))
        except Exception as error:
            self._count_out_of_memory(error)
            raise

    def _count_out_of_memory(self, error: Exception) -> None:
        self.statistics.out_of_memory += is_out_of_memory(error)

    def _limit_rows(self, group: Group) -> int:
        return self._runner.limit_rows(group.row_bytes, self._is_steady(group.key))

    def _is_steady(self, key: object) -> bool:
        """Whether a size in rows means something: all rows have one shape, or had it of late."""
        alike = key == self._last_key and self._batches_alike >= _STEADY_BATCHES
        return self.is_static or alike
