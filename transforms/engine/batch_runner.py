"""Any number of rows as one batch: padded, a slice per replica, run, gathered and cut."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from transforms.engine.arrays import field_row_bytes, no_rows
from transforms.engine.host_tensors import to_array
from transforms.engine.ladder import padded_rows
from transforms.engine.memory_guard import MemoryGuard
from transforms.engine.preprocessing import Preprocess
from transforms.engine.read_back import OnHost, ReadBack
from transforms.engine.replicas import Replicas
from transforms.engine.run_statistics import RunStatistics
from transforms.engine.signature import TensorField
from transforms.engine.sizing import Sizes
from transforms.engine.slicing import Columns, count_rows, gather, pad, slice_for_replicas
from transforms.engine.stage_times import GATHER, HOST_TO_DEVICE, STAGE_TIMES, STEP
from transforms.engine.step import CallableModel, Step, Tensors, check_rows
from transforms.engine.traces import Traces
from transforms.engine.warmup import WarmUp, run_made_up_rows, warm_up


class RunningBatch(NamedTuple):
    """A batch that was launched.

    Attributes:
      outputs: of each replica; those of GPUs are under way to the host.
      padded: rows, with padding.
    """

    outputs: list[Tensors] | Future[OnHost]
    padded: int

    @property
    def ended_at_seconds(self) -> float:
        """When its outputs were on the host; asked of a batch that was collected."""
        if isinstance(self.outputs, Future):
            return self.outputs.result().at_seconds
        return time.perf_counter()


class BatchRunner:
    """Runs one batch after another, each on all of its replicas.

    Attributes:
      replicas: where they run.
      statistics: of all batches.
      warm_up: the pure model's rate, where made-up rows could measure it.
      batch_rows: most rows of a batch as it stands.
    """

    def __init__(
        self,
        model: CallableModel,
        replicas: Replicas,
        sizer: Sizes,
        *,
        fields: Sequence[TensorField] | None,
        preprocess: Preprocess | None,
        xla: bool,
    ) -> None:
        """Traces, where the fields are known.

        Raises:
          SetupError: the step cannot be traced.
        """
        self.statistics = RunStatistics()
        self.warm_up: WarmUp | None = None
        self.batch_rows = replicas.count
        self.replicas = replicas
        self._sizer = sizer
        self._guard = MemoryGuard(replicas, sizer)
        self._read_back = ReadBack() if replicas.runs_ahead else None
        self._is_static = False
        self._traces = Traces(model, replicas, fields, preprocess, xla)

    def probe_memory(self) -> None:
        """Finds out how many rows fit, where the rows' shape is known."""
        step = self._traces.latest
        self._is_static = step is not None and all(field.is_static for field in step.fields)
        if step is not None and self._is_static:
            self._guard.prepare(step)
            self.batch_rows = self._sizer.rows_for(field_row_bytes(step.fields))

    def run_first(self) -> None:
        """Warms up, where the rows' shape is known."""
        if self._traces.latest is not None and self._is_static:
            self.warm_up = warm_up(self._traces.latest, self.replicas.count, self.batch_rows)

    @property
    def outputs(self) -> tuple[TensorField, ...] | None:
        """Outputs as traced; None before the first batch where nothing said what it holds."""
        return self._traces.latest.outputs if self._traces.latest else None

    @property
    def is_static(self) -> bool:
        """Whether all rows have one known shape."""
        return self._is_static

    @property
    def traces(self) -> int:
        """How often a replica's part of the step was traced, in all."""
        return self._traces.count

    def limit_rows(self, row_bytes: int, is_steady: bool) -> int:
        """Most rows of a batch of such rows."""
        self.batch_rows = self._sizer.rows_for(row_bytes, is_steady)
        return self.batch_rows

    def padded(self, rows: int) -> int:
        """Rows that are run for a number of rows."""
        count = self.replicas.count
        return padded_rows(rows, max(self.batch_rows, rows + count - 1), count)

    def run(self, columns: Columns) -> RunningBatch:
        """Starts a batch; on a CPU it has ended when this returns."""
        step = self._step_for(columns)
        rows = count_rows(columns)
        padded = self.padded(rows)
        self._guard.start()
        with STAGE_TIMES.stage(HOST_TO_DEVICE):
            slices = slice_for_replicas(pad(columns, padded), self.replicas.count)
        with STAGE_TIMES.stage(STEP):
            outputs = step(slices)
        if self._is_static:
            # By now all memory was taken, though a GPU may still be at work.
            self._guard.observe(padded)
        self.statistics.batches[padded] += 1
        self.statistics.padded_rows += padded - rows
        if self._read_back is None:
            return RunningBatch(outputs, padded)
        return RunningBatch(self._read_back.start(outputs), padded)

    def collect(self, batch: RunningBatch, rows: int) -> dict[str, np.ndarray]:
        """Waits for a batch and gives its outputs on the host, read-only, without the padding.

        Raises:
          SetupError: an output has not one entry for each row.
        """
        read = batch.outputs
        if isinstance(read, Future):
            with STAGE_TIMES.stage(STEP):
                read = read.result().tensors
        with STAGE_TIMES.stage(GATHER):
            slices = [
                {name: to_array(tensor) for name, tensor in outputs.items()} for outputs in read
            ]
        for outputs in slices:
            check_rows(outputs, batch.padded // self.replicas.count)
        self.statistics.rows += rows
        with STAGE_TIMES.stage(GATHER):
            return gather(slices, rows)

    def close(self) -> None:
        """Ends its thread, where it has one; no batch can be run any more."""
        if self._read_back is not None:
            self._read_back.close()

    def no_outputs(self, columns: Columns) -> dict[str, np.ndarray]:
        """The outputs of no rows."""
        return {field.name: no_rows(field) for field in self._step_for(columns).outputs}

    def probe(self) -> None:
        """Runs one made-up row per replica."""
        if self._traces.latest is not None:
            run_made_up_rows(self._traces.latest, self.replicas.count, self.replicas.count)

    def rows_after_failure(self) -> int | None:
        """Rows that should fit where a batch just did not; None where nothing is known."""
        return self._guard.rows_after_failure() if self._is_static else None

    def time(self, columns: Columns) -> float:
        """Seconds of one batch of exactly these rows, from arrays to arrays.

        Raises:
          tf.errors.OpError: what the step raised; nothing is tried again.
        """
        step = self._step_for(columns)
        started = time.perf_counter()
        for outputs in step(slice_for_replicas(columns, self.replicas.count)):
            for tensor in outputs.values():
                to_array(tensor)
        return time.perf_counter() - started

    def _step_for(self, columns: Columns) -> Step:
        before = self._traces.latest
        step = self._traces.step_for(columns)
        if self._traces.latest is not before:
            self.probe_memory()
            self.run_first()
        return step
