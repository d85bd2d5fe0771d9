"""Signals that stop a command, taken by whichever thread."""

from __future__ import annotations

import os
import signal

import pytest

from pipelines.stop_signals import stopped_by_signals
from tests.processes import python

# The main thread waits for a lock when another thread is given the signal.
TAKEN_BY_ANOTHER = """
import signal, sys, threading, time
from pipelines.stop_signals import stopped_by_signals

def take():
    while sys._current_frames()[threading.main_thread().ident].f_code.co_name != "wait":
        time.sleep(0.01)
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.{name})
    time.sleep(120)

try:
    with stopped_by_signals():
        threading.Thread(target=take, daemon=True).start()
        threading.Event().wait()
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_that_another_thread_takes_stops_the_command(name: str):
    told = python("-c", TAKEN_BY_ANOTHER.format(name=name), seconds=100)
    assert told.stdout == "stopped\n"


def test_handlers_and_files_are_left_as_they_were():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGURG)
    handlers, files = [signal.getsignal(number) for number in numbers], os.listdir("/proc/self/fd")
    with stopped_by_signals():
        assert signal.getsignal(signal.SIGTERM) is not handlers[0]
    assert [signal.getsignal(number) for number in numbers] == handlers
    assert os.listdir("/proc/self/fd") == files
