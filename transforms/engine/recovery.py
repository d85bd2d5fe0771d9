"""What is done with a batch that failed: smaller batches, down to the rows that are to blame."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from transforms.engine.arrays import columns_row_bytes
from transforms.engine.errors import (
    InferenceError,
    SetupError,
    describe,
    is_consequence,
    is_out_of_memory,
    may_be_the_device,
)
from transforms.engine.groups import join_parts
from transforms.engine.sizing import Sizes
from transforms.engine.slicing import Columns, count_rows, cut

_LOG = logging.getLogger(__name__)

# Another process may be about to give memory back.
WAITS_SECONDS = (1.0, 5.0, 30.0)

# Which of several devices' errors a step has is chance.
_MORE_TRIES = 5

Outputs = dict[str, np.ndarray]
Failed = dict[int, InferenceError]


class OutOfDeviceMemoryError(RuntimeError):
    """Not even a made-up row fits: nothing is wrong with the rows, so the job has to stop."""


class DeviceFailedError(RuntimeError):
    """What ran before no longer runs: the device is to blame, so the job has to stop."""


class Recovery:
    """Predicts the rows of failed batches.

    After an allocation failure only the size changes: the same rows run again in batches that
    fit. After any other error the batch is halved until single rows fail, at a cost of about
    2·log2(n) small batches for one bad row among n. A row that fails with what may be the
    device's error is only to blame where the model still runs on made-up rows.
    """

    def __init__(
        self,
        run: Callable[[Columns], Outputs],
        no_outputs: Callable[[Columns], Outputs],
        probe: Callable[[], None],
        sizer: Sizes,
        *,
        padded_rows: Callable[[int], int],
        predicted_rows: Callable[[], int | None],
        takes_made_up_rows: Callable[[], bool] = lambda: False,
        waits_seconds: Sequence[float] = WAITS_SECONDS,
    ) -> None:
        """Says how batches are run.

        Args:
          run: predicts a batch, or raises.
          no_outputs: the outputs of no rows.
          probe: runs one made-up row per replica, where the model takes such.
          sizer: is told of what did not fit, and says what should.
          padded_rows: rows that are run for a number of rows.
          predicted_rows: rows that should fit, after a failure.
          takes_made_up_rows: whether the model has run on such before.
          waits_seconds: pauses before one row per replica is tried again.
        """
        self._run = run
        self._no_outputs = no_outputs
        self._probe = probe
        self._sizer = sizer
        self._padded_rows = padded_rows
        self._predicted_rows = predicted_rows
        self._takes_made_up_rows = takes_made_up_rows
        self._waits_seconds = tuple(waits_seconds)

    def predict(self, columns: Columns, error: Exception) -> tuple[Outputs, Failed]:
        """The outputs of the rows that can be predicted, and why the others cannot.

        Args:
          columns: the batch that failed, without padding.
          error: how it failed.

        Raises:
          OutOfDeviceMemoryError: the devices have no memory for anything.
          DeviceFailedError: the devices fail at what they did before.
          SetupError: the model does not score row by row.
        """
        if isinstance(error, SetupError):
            raise error
        rows = count_rows(columns)
        if is_out_of_memory(error):
            row_bytes = columns_row_bytes(columns)
            if self._sizer.out_of_memory(self._padded_rows(rows), row_bytes, self._predicted_rows):
                return self._in_pieces(columns, min(rows, self._sizer.rows_for(row_bytes)))
            return self._wait(columns, error)
        if rows == 1:
            for _ in range(_MORE_TRIES if is_consequence(error) else 0):
                try:
                    return self._run(columns), {}
                except Exception as again:
                    error = again
                if not is_consequence(error):
                    return self.predict(columns, error)
            self._check_devices(error)
            return self._no_outputs(columns), {0: describe(error)}
        return self._in_pieces(columns, (rows + 1) // 2)

    def _check_devices(self, error: Exception) -> None:
        """Raises DeviceFailedError where a row is not to blame for what it failed with."""
        if not may_be_the_device(error) or not self._takes_made_up_rows():
            return
        try:
            self._probe()
        except Exception as probed:
            raise DeviceFailedError(
                "expected the devices to run what they ran before. Received, for rows of zeros: "
                f"{describe(probed).message} Look at the devices (nvidia-smi, dmesg), and run the "
                "same job again: what is committed stays."
            ) from error

    def _in_pieces(self, columns: Columns, size: int) -> tuple[Outputs, Failed]:
        parts: list[Columns] = []
        failed: Failed = {}
        rows, row_bytes = count_rows(columns), columns_row_bytes(columns)
        start = 0
        while start < rows:
            # A piece that did not fit makes the ones after it smaller too.
            stop = min(rows, start + min(size, self._sizer.rows_for(row_bytes)))
            piece = cut(columns, start, stop)
            try:
                parts.append(self._run(piece))
            except Exception as error:
                part, reasons = self.predict(piece, error)
                parts.append(part)
                failed |= {start + row: reason for row, reason in reasons.items()}
            start = stop
        return dict(join_parts(parts)), failed

    def _wait(self, columns: Columns, error: Exception) -> tuple[Outputs, Failed]:
        """One row per replica does not fit: waits, then finds out whether the rows are to blame."""
        for seconds in self._waits_seconds:
            _LOG.warning("one row per device does not fit; trying again in %g s", seconds)
            time.sleep(seconds)
            try:
                return self._run(columns), {}
            except Exception as again:
                if not is_out_of_memory(again):
                    return self.predict(columns, again)
                error = again
        try:
            self._probe()
        except Exception as probed:
            if is_out_of_memory(probed):
                raise OutOfDeviceMemoryError(
                    "expected device memory for one row per replica. Received: "
                    f"{describe(error).message} Free the devices, which another process may "
                    "hold, and run the same job again: what is committed stays."
                ) from error
            _LOG.info("the model takes no made-up rows (%s)", describe(probed).error)
        return self._one_by_one(columns, error)

    def _one_by_one(self, columns: Columns, error: Exception) -> tuple[Outputs, Failed]:
        """Finds the rows that are too large by themselves; the others are predicted."""
        rows = count_rows(columns)
        if rows == 1:
            return self._no_outputs(columns), {0: describe(error)}
        parts: list[Columns] = []
        failed: Failed = {}
        for row in range(rows):
            alone = cut(columns, row, row + 1)
            try:
                parts.append(self._run(alone))
            except Exception as reason:
                if isinstance(reason, SetupError):
                    raise
                parts.append(self._no_outputs(alone))
                failed[row] = describe(reason)
        return dict(join_parts(parts)), failed
