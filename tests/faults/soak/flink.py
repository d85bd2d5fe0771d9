"""Trials on a Flink cluster of this machine, which lives on while its parts are killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.faults.soak.job import ENVIRONMENT, Job
from tests.faults.soak.processes import end_group, growth, held, is_running
from tests.faults.soak.trials import (
    DRIVER_FOR_GOOD,
    MACHINE,
    TASK_MANAGER,
    WORKER,
    Trial,
    draw_flink,
)
from tests.runners.flink_cluster import FlinkCluster, most_task_manager_mib
from tests.runners.flink_flags import external_flags, flink_flags
from tests.runners.pools import RunningPool

TASK_MANAGERS, SLOTS = 2, 2

# The first task manager lives on; what it holds is compared.
_MORTAL = 1
_RESTART_SECONDS = 1.0
_ALONE_SECONDS = 240.0
# The same command beside a job that goes on may find files gone that the other cleaned up.
_MOST_REPETITIONS = 3


class FlinkRunner:
    """A pool of processes and a pool of threads beside a cluster; a context that ends them."""

    def __init__(self, job_server: Path, cluster: FlinkCluster, folder: Path) -> None:
        """Says what runs.

        Args:
          job_server: the jar with Flink and Beam's runner.
          cluster: a running one, of so many task managers and slots.
          folder: for the pools' logs.
        """
        self._job_server = job_server
        self._cluster = cluster
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._held: dict[str, list[dict[str, int]]] = {}

    def __enter__(self) -> FlinkRunner:
        """Starts the pools."""
        with contextlib.ExitStack() as stack:
            self._processes = self._start_pool("processes", stack)
            self._threads = self._start_pool("threads", stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the pools and their workers."""
        self._stack.close()

    def draw(self, rng: random.Random) -> Trial:
        """A trial at random."""
        return draw_flink(rng)

    def flags(self, trial: Trial) -> list[str]:
        """Of the trial's command."""
        pool = self._processes if trial.processes else self._threads
        return [
            *flink_flags(self._job_server, self._cluster.master, trial.threads),
            *external_flags(pool),
        ]

    def run(self, job: Job) -> None:
        """Kills what the trial says while the job goes on, and sees it to its end."""
        running = job.start()
        try:
            runs, alone = 0, False
            for victim, share in job.trial.kills:
                if not job.await_share(running, runs, job.records("commits"), share):
                    break
                if victim in (MACHINE, DRIVER_FOR_GOOD):
                    job.count_kill(victim)
                    end_group(running)
                    alone = victim == DRIVER_FOR_GOOD
                    if alone:
                        break
                    runs = job.records("runs")
                    running = job.start()
                elif not self._kill(job, running, victim):
                    break
            if alone:
                self._wait_until_idle(_ALONE_SECONDS)
                name = "done" if (job.out / "_SUCCESS").exists() else "not done"
                job.counts[f"{name} without its command"] += 1
                running = job.start()
            self._see_to_its_end(job, running)
        finally:
            end_group(running)

    def settle(self) -> bool:
        """Waits for jobs of killed commands; then notes what the processes hold that live on."""
        beside = not self._cluster.is_idle()
        self._wait_until_idle(_ALONE_SECONDS)
        for name, pid in {
            "task manager": self._cluster.task_manager(0),
            "pool of processes": self._processes.process.pid,
            "pool of threads, with its workers": self._threads.process.pid,
        }.items():
            self._held.setdefault(name, []).append(held(pid))
        return beside

    def give_up(self) -> None:
        """Ends every job of the cluster."""
        self._cluster.cancel_jobs()
        self._wait_until_idle(_ALONE_SECONDS)

    def grown(self) -> dict[str, dict[str, Any]]:
        """What each process that lived on held at first and in the end."""
        grown = {name: growth(after_each) for name, after_each in self._held.items()}
        # A JVM takes what it was given, little by little.
        grown["task manager"]["mib_given"] = most_task_manager_mib()
        return grown

    def _start_pool(self, kind: str, stack: contextlib.ExitStack) -> RunningPool:
        log = self._folder / f"{kind}.log"
        pool = RunningPool(log, f"--{kind}", environment=ENVIRONMENT)
        stack.callback(pool.stop)
        return pool

    def _kill(self, job: Job, running: subprocess.Popen[bytes], victim: str) -> bool:
        if victim == TASK_MANAGER:
            job.count_kill(TASK_MANAGER)
            self._cluster.kill_task_manager(_MORTAL)
            time.sleep(_RESTART_SECONDS)
            self._cluster.start_task_manager(_MORTAL)
            return True
        assert victim == WORKER
        # One that has scored: Beam's runner waits for ever for one that never connects.
        while not (workers := [pid for pid in job.scored_by() if is_running(pid)]):
            if running.poll() is not None:
                return False
            time.sleep(0.005)
        job.count_kill(WORKER)
        os.kill(workers[-1], signal.SIGKILL)
        return True

    def _see_to_its_end(self, job: Job, running: subprocess.Popen[bytes]) -> None:
        code = job.wait(running)
        for _ in range(_MOST_REPETITIONS):
            if code == 0 or not job.counts[f"{MACHINE} killed"]:
                break
            job.counts["failed beside another"] += 1
            code = job.wait(job.start())
        job.require_done(code)

    def _wait_until_idle(self, seconds: float) -> None:
        self._cluster.wait_for_slots(TASK_MANAGERS * SLOTS, seconds)
