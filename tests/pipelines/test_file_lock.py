"""Locks that others hold: for a moment, or for good."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.file_lock import file_lock
from tests.processes import line_of

_HOLDER = """
import fcntl, sys
with open(sys.argv[1], "rb+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "plan.json").write_bytes(b"{}")
    return str(tmp_path / "plan.json")


@pytest.fixture
def holder(path: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert line_of(process) == "held\n"
        yield process
        process.kill()


def test_threads_hold_it_one_by_one(path: str) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with file_lock(path):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lock_that_is_given_back_is_waited_for(
    path: str, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    given_back = threading.Timer(0.3, holder.communicate)
    given_back.start()
    with file_lock(path, patience_seconds=600):
        assert time.monotonic() - began >= 0.3
    given_back.join()
    assert not caplog.records


def test_a_stopped_holder_is_waited_for_once(
    path: str, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    holder.send_signal(signal.SIGSTOP)
    with caplog.at_level(logging.WARNING), file_lock(path, patience_seconds=0.2):
        pass
    assert "its holder may be stopped" in caplog.text
    entered = threading.Event()

    def enter() -> None:
        with file_lock(path, patience_seconds=3600):
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    assert entered.wait(120)
    holder.kill()
    holder.wait()
    with file_lock(path), file_lock(path, patience_seconds=0.01):
        assert len(caplog.records) == 2


def test_the_lock_of_a_file_that_was_replaced_is_not_enough(
    path: str, holder: subprocess.Popen[bytes]
) -> None:
    inside = threading.Event()

    def wait() -> None:
        with file_lock(path):
            inside.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    # It has the old file open by now, or soon opens the new one: both must end the same way.
    time.sleep(0.2)
    Path(path).unlink()
    Path(path).write_bytes(b"{}")
    with file_lock(path):
        holder.communicate()
        assert not inside.wait(0.5)
    waiter.join()
    assert inside.is_set()
