"""Signals that stop a command, taken by whichever thread."""

from __future__ import annotations

import pytest

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


# Of five hundred of these signals, a few come between the main thread's last look for
# signals and its sleep.
JUST_BEFORE_IT_WAITS = """
import random, signal, threading, time
from pipelines.stop_signals import stopped_by_signals

def take(ready, seconds):
    ready.wait()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

stopped = 0
for seed in range(500):
    ready, ended = threading.Event(), threading.Event()
    seconds = random.Random(seed).uniform(0, 1e-4)
    taker = threading.Thread(target=take, args=(ready, seconds), daemon=True)
    other = threading.Thread(target=ended.wait, daemon=True)
    try:
        with stopped_by_signals():
            taker.start()
            other.start()
            ready.set()
            threading.Event().wait()
    except KeyboardInterrupt:
        stopped += 1
    ended.set()
    taker.join()
print(stopped)
"""


def test_a_signal_that_comes_just_before_the_command_waits_stops_it():
    assert python("-c", JUST_BEFORE_IT_WAITS).stdout == "500\n"


LEFT_AS_THEY_WERE = """
import os, signal
from pipelines.stop_signals import stopped_by_signals

numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGURG)
handlers, files = [signal.getsignal(number) for number in numbers], os.listdir("/proc/self/fd")
with stopped_by_signals():
    assert signal.getsignal(signal.SIGTERM) is not handlers[0]
assert [signal.getsignal(number) for number in numbers] == handlers
assert os.listdir("/proc/self/fd") == files
"""


def test_handlers_and_files_are_left_as_they_were():
    # Other threads of this process may open files meanwhile.
    python("-c", LEFT_AS_THEY_WERE)
