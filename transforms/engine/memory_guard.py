"""Keeps batches within the memory: predicts what fits, and learns from every new size."""

from __future__ import annotations

import collections
import logging

from transforms.engine.device_limits import limit_bytes
from transforms.engine.memory import MemoryModel, PeakMeter
from transforms.engine.memory_probe import measure_step
from transforms.engine.replicas import Replicas
from transforms.engine.sizing import Sizes
from transforms.engine.step import Step

_LOG = logging.getLogger(__name__)

# Of what a device has, as the prediction may be off and other tenants may grow.
SAFE_SHARE = 0.8
_PROBE_SECONDS = 0.25
_TELLING_BYTES = 16 << 20


class MemoryGuard:
    """Bounds the sizer by what fits, for steps whose rows all have one shape."""

    def __init__(self, replicas: Replicas, sizer: Sizes) -> None:
        self._replicas = replicas
        self._sizer = sizer
        self._meter = PeakMeter(replicas)
        self._memory = MemoryModel()
        self._limit_bytes: int | None = None
        self._runs: collections.Counter[int] = collections.Counter()
        # In the first run of a size cuDNN tries kernels, some with gigabytes of work space.
        self._telling_run = 2 if replicas.kind == "GPU" else 1

    def prepare(self, step: Step) -> None:
        """Probes a step with a few small batches."""
        try:
            self._limit_bytes = limit_bytes(self._replicas)
        except OSError as error:
            _LOG.warning("the devices' memory is not known, only an OOM will tell: %s", error)
        self._memory = measure_step(
            step,
            self._replicas,
            limit_bytes=self._limit_bytes,
            budget_seconds=_PROBE_SECONDS,
        )
        self._runs.clear()
        self._bound()

    def start(self) -> None:
        """Begins to watch a batch."""
        self._meter.start()

    def observe(self, rows: int) -> None:
        """Takes the peak of a batch of so many padded rows into account, once for each size.

        To be called when the batch has taken its memory, before another one starts.
        """
        self._runs[rows] += 1
        if self._runs[rows] != self._telling_run:
            return
        peak = self._meter.peak_bytes()
        if peak is not None:
            self._memory.observe(rows // self._replicas.count, peak)
            self._bound()

    def rows_after_failure(self) -> int | None:
        """Rows that should fit where a batch just did not; None where nothing is known.

        How far the peak rose before it failed says what the device really had to give; one that
        hardly rose says nothing.
        """
        peak, fitted = self._meter.peak_bytes(), self._memory.fit
        if peak is None or fitted is None:
            return None
        if peak - fitted.fixed_bytes < _TELLING_BYTES:
            return None
        had = peak if self._limit_bytes is None else min(peak, self._limit_bytes)
        return fitted.rows_within(int(SAFE_SHARE * had)) * self._replicas.count

    def _bound(self) -> None:
        fitted = self._memory.fit
        if fitted is None or self._limit_bytes is None:
            return
        rows = fitted.rows_within(int(SAFE_SHARE * self._limit_bytes))
        self._sizer.set_fitting(max(1, rows) * self._replicas.count)
