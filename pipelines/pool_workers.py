"""The workers of a pool: processes, or threads of this one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from pipelines.device_shares import VISIBLE_DEVICES, DeviceShares

_LOG = logging.getLogger(__name__)

# A harness ends by itself when its runner closes the control stream, teardown included.
_END_SECONDS = 20.0
_TERMINATE_SECONDS = 10.0

_STDERR = 2


class PoolWorker(Protocol):
    """A running harness."""

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""

    def expect_end(self) -> None:
        """Returns at once; ends it if it has not ended by itself soon."""

    def end(self) -> None:
        """Ends it, and waits for that."""


class ProcessWorker:
    """A harness in a process of its own, which has this interpreter and this stderr."""

    def __init__(
        self, name: str, environment: Mapping[str, str], shares: DeviceShares | None = None
    ) -> None:
        """Starts it.

        Args:
          name: for the log.
          environment: what the harness must be told.
          shares: devices to pin it to a share of.
        """
        self._name = name
        self._shares = shares
        self._share = None if shares is None else shares.take()
        variables = os.environ | dict(environment)
        if self._share is not None:
            variables[VISIBLE_DEVICES] = ",".join(self._share)
        # Nobody reads a pipe of its stdout: full, it would block the worker's prints for ever.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.worker_process"],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
        )
        devices = "" if self._share is None else f", devices {','.join(self._share)}"
        _LOG.info("started %s as process %d%s", name, self._process.pid, devices)
        threading.Thread(target=self._reap, name=f"reap {name}", daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def expect_end(self) -> None:
        """Gives the process its time to end by itself, in another thread."""
        threading.Thread(target=self._end_late, name=f"end {self._name}", daemon=True).start()

    def end(self) -> None:
        """Terminates the process; kills it where that does not help."""
        self._process.terminate()
        try:
            self._process.wait(_TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            _LOG.warning("killing %s, which does not end", self._name)
            self._process.kill()
            self._process.wait()

    def _end_late(self) -> None:
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            _LOG.warning("ending %s, which was to end by itself", self._name)
            self.end()

    def _reap(self) -> None:
        code = self._process.wait()
        if self._shares is not None and self._share is not None:
            self._shares.give_back(self._share)
        _LOG.info("%s ended, process %d, exit %d", self._name, self._process.pid, code)


class ThreadWorker:
    """A harness in this process; its bundles run in threads that all harnesses share."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        """Connects to the runner and starts.

        Raises:
          grpc.FutureTimeoutError: the runner's control service does not answer.
        """
        from apache_beam.runners.worker import sdk_worker_main

        # One process has one log; sent to every runner, each would get the others' lines.
        local = {key: value for key, value in environment.items() if not key.startswith("LOGGING")}
        _, self._harness, _ = sdk_worker_main.create_harness(local)
        self._name = name
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _LOG.info("started %s in process %d", name, os.getpid())

    @property
    def is_running(self) -> bool:
        """Whether the harness has not ended yet."""
        return self._thread.is_alive()

    def expect_end(self) -> None:
        """Does nothing: it ends when its control stream does."""

    def end(self) -> None:
        """Does nothing: it ends with the process."""

    def _run(self) -> None:
        try:
            self._harness.run()
            _LOG.info("%s ended", self._name)
        except Exception as error:
            _LOG.warning("%s lost its runner: %s", self._name, _first_line(error))
            self._abandon_bundles()

    def _abandon_bundles(self) -> None:
        """Tears the DoFns of half-run bundles down, which makes these fail and free the model."""
        from apache_beam.utils.sentinel import Sentinel

        try:
            # Else the thread that sends responses waits for them for ever, and holds the harness.
            self._harness._responses.put(Sentinel.sentinel)
            self._harness._bundle_processor_cache.shutdown()
            self._harness._data_channel_factory.close()
            self._harness._state_handler_factory.close()
        except Exception:
            _LOG.warning("could not end all bundles of %s", self._name, exc_info=True)


def _first_line(error: Any) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
