"""Worker pools and commands of the product, as processes that tests start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_STOP_SECONDS = 60.0


class RunningPool:
    """A `mirrorbeam worker-pool` on a free port."""

    def __init__(
        self, log: Path, *flags: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts it and waits until it listens.

        Args:
          log: for what it and its workers say.
          flags: of the command.
          environment: variables besides those of this process.
        """
        self._log = log
        command = [sys.executable, "-m", "pipelines", "worker-pool", "--port", "0", *flags]
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | dict(environment or {}), text=True,
                stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip
        assert self.process.stdout is not None
        match = re.match(r"worker pool at (\S+),", self.process.stdout.readline())
        assert match is not None, log.read_text()
        self.address = match[1]

    def started(self) -> list[int]:
        """The process of each worker that was asked for."""
        found = re.findall(r"started worker \S+ of \S+ (?:as|in) process (\d+)",
                           self._log.read_text())  # fmt: skip
        return list(map(int, found))

    def stop(self) -> None:
        """Ends it and its workers."""
        self.process.terminate()
        self.process.wait(_STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


def start_command(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts `mirrorbeam`; what it says goes to the log."""
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines", *arguments],
            cwd=ROOT, env=os.environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command as Ctrl-C does, so that it ends the job server that Beam started for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Waits for a command that is to succeed; ends one that takes too long."""
    try:
        code: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        end(process)
    assert code == 0, f"exit {code} (None: over {seconds} s)\n{log.read_text()[-4000:]}"
