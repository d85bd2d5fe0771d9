"""The first look at what a step takes: its trace, and a few small batches of growing size."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping

import numpy as np

from transforms.engine.arrays import made_up_rows
from transforms.engine.errors import describe
from transforms.engine.liveness import static_fit
from transforms.engine.memory import MemoryFit, MemoryModel, PeakMeter
from transforms.engine.replicas import Replicas
from transforms.engine.slicing import Columns, count_rows, slice_for_replicas
from transforms.engine.step import Step

_LOG = logging.getLogger(__name__)

# From one probe to the next at most so much: the time and the estimate may be off.
_MOST_GROWTH = 64
# TensorFlow's CPU allocator does not count blocks below 256 KiB: smaller batches show nothing.
_VISIBLE_BYTES = 16 << 20
# Rows that take less than that together never fill a device.
_MOST_ROWS = 1 << 16
# Of what fits, as far as is known; the first batches must not be those that fail.
_SAFE_SHARE = 0.5


def measure_step(
    step: Step,
    replicas: Replicas,
    columns: Columns | None = None,
    *,
    limit_bytes: int | None = None,
    budget_seconds: float = 0.5,
) -> MemoryModel:
    """Finds out what rows of a step take, at little cost.

    One row per replica runs first, then as many as should show, in as few steps as the time
    allows; as a rule that is one or two more sizes. Twice the size runs before each, so that the
    allocator has room to cut exact chunks from, and the size itself once unmeasured, since
    kernels that are chosen in a first run take memory of their own.

    Args:
      step: traced.
      replicas: where it runs.
      columns: rows of the job to repeat; without them made-up ones, where no dimension is free.
      limit_bytes: what a replica may take; no probe is expected to need more than half of it.
      budget_seconds: time for all runs after the first row.

    Returns:
      What is known: the estimate from the trace alone where the allocator has no statistics or
      the model does not take made-up rows, and nothing where the trace cannot be read either.
    """
    if columns is None:
        if not all(field.is_static for field in step.fields):
            return MemoryModel()
        columns = {field.name: made_up_rows(field, 1) for field in step.fields}
    shapes = {field.name: columns[field.name].shape[1:] for field in step.fields}
    memory = MemoryModel(_estimate(step, shapes, replicas.kind))
    if step.is_compiled:
        # Every probe would compile a size that no batch has.
        return memory
    try:
        _probe(memory, step, replicas, columns, limit_bytes, budget_seconds)
    except Exception as error:
        _LOG.info("memory is not measured before the first batch: %s", describe(error).message)
    _LOG.debug("memory of a replica: %s", _described(memory.fit))
    return memory


def _probe(
    memory: MemoryModel,
    step: Step,
    replicas: Replicas,
    columns: Columns,
    limit_bytes: int | None,
    budget_seconds: float,
) -> None:
    meter = PeakMeter(replicas)
    rows = 1
    _run(step, replicas, columns, rows)
    until = time.perf_counter() + budget_seconds
    while True:
        started = time.perf_counter()
        _run(step, replicas, columns, 2 * rows)
        _run(step, replicas, columns, rows)
        meter.start()
        _run(step, replicas, columns, rows)
        peak_bytes = meter.peak_bytes()
        if peak_bytes is None:
            return
        memory.observe(rows, peak_bytes)
        now = time.perf_counter()
        affordable = int(rows * (until - now) / (now - started))
        following = min(
            affordable, rows * _MOST_GROWTH, _MOST_ROWS, _safe_rows(memory, limit_bytes)
        )
        if memory.estimate is not None and memory.estimate.bytes_per_row > 0:
            following = min(following, rows + _visible_rows(memory.estimate))
        if following < 2 * rows or _rise_bytes(memory) >= _VISIBLE_BYTES:
            return
        rows = following


def _rise_bytes(memory: MemoryModel) -> int:
    return memory.points[-1][1] - memory.points[0][1]


def _visible_rows(estimate: MemoryFit) -> int:
    """Rows whose memory shows."""
    return math.ceil(2 * _VISIBLE_BYTES / estimate.bytes_per_row)


def _safe_rows(memory: MemoryModel, limit_bytes: int | None) -> int:
    """Rows of which twice as many fit, even if each takes twice of what is known."""
    fitted = memory.fit
    if limit_bytes is None or fitted is None:
        return _MOST_ROWS
    return fitted.rows_within(int(limit_bytes * _SAFE_SHARE)) // 2


def _run(step: Step, replicas: Replicas, columns: Columns, rows: int) -> None:
    """Runs so many rows per replica to the end."""
    entries = np.arange(rows * replicas.count) % count_rows(columns)
    repeated = {field.name: columns[field.name][entries] for field in step.fields}
    for outputs in step(slice_for_replicas(repeated, replicas.count)):
        for tensor in outputs.values():
            tensor.numpy()


def _estimate(step: Step, shapes: Mapping[str, tuple[int, ...]], kind: str) -> MemoryFit | None:
    try:
        return static_fit(step, shapes, kind)
    except Exception as error:
        # Whatever TensorFlow raises for an operation that it cannot make again.
        _LOG.info("no estimate of the memory from the trace: %s", describe(error).message)
        return None


def _described(fitted: MemoryFit | None) -> str:
    if fitted is None:
        return "unknown"
    return f"{fitted.fixed_bytes:,} bytes and {fitted.bytes_per_row:,.0f} bytes a row"
