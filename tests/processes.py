"""Programs that tests start: they end in time, or the test says what they were doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# A busy machine may stand still for a minute: this is for what never ends.
PATIENCE_SECONDS = 600.0
# From the signal to the end, while stacks are told.
_LAST_SECONDS = 20.0


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs this Python, which finds this project's packages, to its end; see `run_program`."""
    env = {"PYTHONPATH": str(ROOT), **options.pop("env", os.environ)}
    return run_program([sys.executable, *arguments], env=env, **options)


def run_program(
    command: Sequence[str],
    *,
    check: bool = True,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    seconds: float = PATIENCE_SECONDS,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, in a process of its own.

    Args:
      command: the program and its arguments.
      check: whether its exit code must be 0.
      cwd: where it runs.
      env: all of its variables, if not this process's.
      seconds: how long it may take.
      options: further ones of `subprocess.Popen`.

    Returns:
      Its exit code and what it said, as text.

    Raises:
      AssertionError: it did not end in time, or with another code than 0; with what it said.
    """
    with subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **options,
    ) as process:  # fmt: skip
        stdout, stderr = said(process, seconds)
    if check and process.returncode:
        raise AssertionError(
            f"expected exit code 0 of {list(command)}. Received: {process.returncode}.\n"
            f"{stdout}\n{stderr}"
        )
    return subprocess.CompletedProcess(list(command), process.returncode, stdout, stderr)


def said(
    process: subprocess.Popen[str], seconds: float = PATIENCE_SECONDS
) -> tuple[str, str]:
    """What a process says on stdout and stderr up to its end.

    Raises:
      AssertionError: it does not end in time; it is killed. Python processes say where each
        thread was.
    """
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # Python was told to write the stacks of its threads at this signal.
        process.send_signal(signal.SIGABRT)
        try:
            stdout, stderr = process.communicate(timeout=_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            stdout, stderr = "", "it ignored SIGABRT, or left a process that has its pipes"
        process.kill()
        raise AssertionError(
            f"expected {process.args} to end within {seconds:.0f} s.\n{stdout}\n{stderr}"
        ) from None


def line_of(process: subprocess.Popen[str], seconds: float = PATIENCE_SECONDS) -> str:
    """The next line that a process says on stdout; empty where it ended before, or had to."""
    assert process.stdout is not None
    watch = threading.Timer(seconds, process.send_signal, [signal.SIGABRT])
    watch.start()
    try:
        return process.stdout.readline()
    finally:
        watch.cancel()
