"""Trials on the runner within the command's process, FnApiRunner."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

from tests.faults.soak.job import Job
from tests.faults.soak.processes import end_group, workers_of
from tests.faults.soak.trials import DRIVER, MACHINE, WORKER, Trial, draw_local

# A command whose worker was killed may wait for it; then it is killed too, as a user would.
_PATIENCE_SECONDS = 15.0
_EXIT_JOB_FAILED = 1


class LocalRunner:
    """Kills commands and worker processes, and gives the same command again."""

    def draw(self, rng: random.Random) -> Trial:
        """A trial at random."""
        return draw_local(rng)

    def flags(self, trial: Trial) -> list[str]:
        """Of the trial's command."""
        mode = "multi_processing" if trial.processes else "multi_threading"
        return [f"--direct_num_workers={trial.threads}", f"--direct_running_mode={mode}"]

    def run(self, job: Job) -> None:
        """Gives the command until it is killed, once for each kill, and then to its end."""
        commands = []
        try:
            for victim, share in job.trial.kills:
                commands.append(self._run_until_killed(job, victim, share))
            commands.append(job.start())
            job.require_done(job.wait(commands[-1]))
        finally:
            for running in commands:
                end_group(running)

    def settle(self) -> bool:
        """Whether anything was still at work; nothing is, once `run` ended."""
        return False

    def give_up(self) -> None:
        """Does nothing: `run` ends what it started."""

    def _run_until_killed(self, job: Job, victim: str, share: float) -> subprocess.Popen[bytes]:
        runs, before = job.records("runs"), job.records("commits")
        running = job.start()
        if not job.await_share(running, runs, before, share):
            # A finished job says so and ends.
            job.require_done(job.wait(running))
            return running
        if victim == WORKER:
            self._kill_worker(job, running)
        elif victim == MACHINE:
            job.count_kill(MACHINE)
            end_group(running)
        else:
            # Its workers live on for a moment, beside those of the next command.
            job.count_kill(DRIVER)
            running.kill()
            running.wait()
        return running

    def _kill_worker(self, job: Job, running: subprocess.Popen[bytes]) -> None:
        while not (workers := workers_of(running.pid)):
            if running.poll() is not None:
                return
            time.sleep(0.005)
        job.count_kill(WORKER)
        os.kill(workers[-1], signal.SIGKILL)
        try:
            code = running.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            job.counts["waited for its worker"] += 1
            end_group(running)
            return
        # With 0 the worker had nothing left to do.
        assert code in (0, _EXIT_JOB_FAILED), f"{job.trial}: exit code {code}\n{job.said()}"
        job.counts["ended after its worker" if code else "done without its worker"] += 1
