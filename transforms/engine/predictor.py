"""Groups of rows in, futures of named outputs out: the one user of a model in a process."""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, NamedTuple

import numpy as np

from transforms.engine.arrays import array_bytes, field_row_bytes, no_rows
from transforms.engine.errors import SetupError, is_out_of_memory
from transforms.engine.group_queue import (
    QUEUE_BYTES,
    DemandingFuture,
    Group,
    GroupQueue,
    Scored,
    Share,
    settle,
)
from transforms.engine.ladder import padded_rows
from transforms.engine.memory_guard import MemoryGuard
from transforms.engine.recovery import WAITS_SECONDS, Recovery
from transforms.engine.replicas import Replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.sizing import BatchSizer
from transforms.engine.slicing import (
    Columns,
    count_rows,
    gather,
    join,
    pad,
    slice_for_replicas,
)
from transforms.engine.step import CallableModel, Preprocess, Step, Tensors
from transforms.engine.traces import Traces
from transforms.engine.warmup import WarmUp, run_made_up_rows, warm_up

_LOG = logging.getLogger(__name__)

# So many batches of one shape where any could come, and the next are taken to have it too.
_STEADY_BATCHES = 20


@dataclasses.dataclass
class PredictorStatistics:
    """What a predictor did so far.

    Attributes:
      rows: predicted rows.
      padded_rows: rows that were run only to fill a batch.
      batches: how often each global batch size was run.
      busy_seconds: time that the devices, and copying to and from them, took.
      out_of_memory: how many batches did not fit.
    """

    rows: int = 0
    padded_rows: int = 0
    batches: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    busy_seconds: float = 0.0
    out_of_memory: int = 0


class _Batch(NamedTuple):
    tensors: list[Tensors]
    padded: int


class _Launched(NamedTuple):
    shares: list[Share]
    columns: Columns
    batch: _Batch
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
        self.statistics = PredictorStatistics()
        self.warm_up: WarmUp | None = None
        self.sizer = BatchSizer(
            replicas.count, requested=rows, most_bytes=queue_bytes // 2, tuned=tuned_rows
        )
        self._on_tuned = on_tuned
        self._guard = MemoryGuard(replicas, self.sizer)
        self.batch_rows = replicas.count
        self._model = model
        self._queue = GroupQueue(queue_bytes, max_wait_seconds)
        self._failure: BaseException | None = None
        self._is_static = False
        self._last_key: object = None
        self._batches_alike = 0
        self._last_finish = 0.0
        if fields is None and preprocess is None:
            fields = model.signature.inputs
        self._traces = Traces(model, replicas, fields, preprocess, xla)
        if self._traces.latest is not None:
            self._prepare(self._traces.latest)
        self._recovery = Recovery(
            self._predict_now,
            self._no_outputs,
            self._probe,
            self.sizer,
            padded_rows=self._padded,
            row_bytes=_row_bytes,
            predicted_rows=lambda columns: (
                self._guard.rows_after_failure() if self._is_static else None
            ),
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
    def outputs(self) -> tuple[TensorField, ...] | None:
        """Outputs as traced; None before the first group where nothing said what it holds."""
        return self._traces.latest.outputs if self._traces.latest else None

    @property
    def is_static(self) -> bool:
        """Whether all rows have one known shape, so that a batch size in rows can be kept."""
        return self._is_static

    @property
    def traces(self) -> int:
        """How often a replica's part of the step was traced, in all."""
        return self._traces.count

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more groups."""
        return self._queue.is_closed

    @property
    def rows_in_batches(self) -> int:
        """Rows that fill one batch of every shape that is waiting."""
        return self.batch_rows if self._is_static else self.batch_rows * self._queue.shapes

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
        step = self._step_for(columns)
        started = time.perf_counter()
        for outputs in step(slice_for_replicas(columns, self.replicas.count)):
            for tensor in outputs.values():
                tensor.numpy()
        return time.perf_counter() - started

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
        columns = join([share.columns for share in shares])
        if count_rows(columns) == 0:
            self._settle(shares, self._no_outputs(columns))
            return None
        started = time.perf_counter()
        try:
            return _Launched(shares, columns, self._run(columns), started)
        except Exception as error:
            self._recover(shares, columns, error)
            return None

    def _finish(self, launched: _Launched) -> None:
        columns = launched.columns
        rows = count_rows(columns)
        try:
            outputs = self._collect(launched.batch, rows)
        except Exception as error:
            self._recover(launched.shares, columns, error)
            return
        now = time.perf_counter()
        seconds = now - max(launched.started, self._last_finish)
        self._last_finish = now
        self.statistics.busy_seconds += seconds
        if self.sizer.observe(
            rows, _row_bytes(columns), seconds, self._is_steady(self._last_key)
        ):
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
        if self._on_tuned is not None and self._is_static and self.sizer.is_tuned:
            self._on_tuned(self.sizer)

    def _settle(self, shares: list[Share], outputs: Columns) -> None:
        self._queue.settled(settle(shares, outputs, {}))

    def _predict_now(self, columns: Columns) -> dict[str, np.ndarray]:
        try:
            return self._collect(self._run(columns), count_rows(columns))
        except Exception as error:
            self._count_out_of_memory(error)
            raise

    def _run(self, columns: Columns) -> _Batch:
        step = self._step_for(columns)
        rows = count_rows(columns)
        padded = self._padded(rows)
        self._guard.start()
        tensors = step(slice_for_replicas(pad(columns, padded), self.replicas.count))
        self.statistics.batches[padded] += 1
        self.statistics.padded_rows += padded - rows
        return _Batch(tensors, padded)

    def _collect(self, batch: _Batch, rows: int) -> dict[str, np.ndarray]:
        slices = [
            {name: tensor.numpy() for name, tensor in outputs.items()} for outputs in batch.tensors
        ]
        _check_rows(slices, batch.padded // self.replicas.count)
        if self._is_static:
            self._guard.observe(batch.padded)
        self.statistics.rows += rows
        return gather(slices, rows)

    def _no_outputs(self, columns: Columns) -> dict[str, np.ndarray]:
        return {field.name: no_rows(field) for field in self._step_for(columns).outputs}

    def _probe(self) -> None:
        if self._traces.latest is not None:
            run_made_up_rows(self._traces.latest, self.replicas.count, self.replicas.count)

    def _count_out_of_memory(self, error: Exception) -> None:
        self.statistics.out_of_memory += is_out_of_memory(error)

    # Sizes and traces.

    def _limit_rows(self, group: Group) -> int:
        self.batch_rows = self.sizer.rows_for(group.row_bytes, self._is_steady(group.key))
        return self.batch_rows

    def _is_steady(self, key: object) -> bool:
        """Whether a size in rows means something: all rows have one shape, or had it of late."""
        alike = key == self._last_key and self._batches_alike >= _STEADY_BATCHES
        return self._is_static or alike

    def _padded(self, rows: int) -> int:
        count = self.replicas.count
        return padded_rows(rows, max(self.batch_rows, rows + count - 1), count)

    def _step_for(self, columns: Columns) -> Step:
        before = self._traces.latest
        step = self._traces.step_for(columns)
        if self._traces.latest is not before:
            self._prepare(step)
        return step

    def _prepare(self, step: Step) -> None:
        self._is_static = all(field.is_static for field in step.fields)
        if self._is_static:
            self._guard.prepare(step)
            self.batch_rows = self.sizer.rows_for(field_row_bytes(step.fields))
            self.warm_up = warm_up(step, self.replicas.count, self.batch_rows)


def _row_bytes(columns: Columns) -> int:
    return sum(map(array_bytes, columns.values())) // max(1, count_rows(columns))


def _check_rows(slices: Sequence[Columns], rows: int) -> None:
    for outputs in slices:
        for name, values in outputs.items():
            if values.shape[:1] != (rows,):
                raise SetupError(
                    f"expected output {name!r} with one entry for each row. Received: shape "
                    f"{list(values.shape)} for {rows} rows. "
                    "Only models that score row by row can be run."
                )
