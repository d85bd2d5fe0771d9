"""Trial after trial, until the time is up."""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from tests.faults.soak.job import Job
from tests.faults.soak.trials import Trial
from tests.models import mlp_keras
from tests.references import Reference

_LOG = logging.getLogger(__name__)


class Runner(Protocol):
    """Where jobs run and are killed."""

    def draw(self, rng: random.Random) -> Trial:
        """A trial at random."""

    def flags(self, trial: Trial) -> list[str]:
        """Of the trial's command."""

    def run(self, job: Job) -> None:
        """Runs a job through its kills to its end, and counts them."""

    def settle(self) -> bool:
        """Waits for what killed commands left running; whether there was anything."""

    def give_up(self) -> None:
        """Ends what a job that went wrong left running."""


def run_trial(
    runner: Runner, folder: Path, reference: Reference, trial: Trial
) -> dict[str, Any]:
    """What came of one job, whose folder stays where a row is missing or doubled.

    Args:
      runner: where it runs.
      folder: has the model, `mlp.keras`, and gets the job's folder.
      reference: the model as a plain function.
      trial: what is done to it.

    Raises:
      AssertionError: something is wrong besides the number of rows; the job's folder stays.
    """
    inner = Path(tempfile.mkdtemp(prefix="job-", dir=folder))
    job = Job(inner, folder / "mlp.keras", reference, trial, runner.flags(trial))
    runner.run(job)
    lost, doubled = job.wrong_rows()
    if runner.settle():
        # Another command was still at work on the finished job: nothing may change.
        job.counts["finished beside another"] += 1
        late_lost, late_doubled = job.wrong_rows()
        lost, doubled = max(lost, late_lost), max(doubled, late_doubled)
    else:
        assert not job.left_behind(), f"{trial} left {job.out / '_mirrorbeam/tmp'}"
    summary = job.summary() | {"rows lost": lost, "rows doubled": doubled}
    if not lost and not doubled:
        shutil.rmtree(inner)
    return summary


def run_trials(
    runner: Runner, folder: Path, seconds: float, rng: random.Random
) -> dict[str, int]:
    """The sums of trials that were begun within so many seconds; at least one is.

    A trial that goes wrong is told, counted and left behind.
    """
    reference = mlp_keras(folder)[1]
    until = time.monotonic() + seconds
    sums: Counter[str] = Counter()
    while not sums or time.monotonic() < until:
        trial = runner.draw(rng)
        began = time.monotonic()
        _LOG.info("%s", trial)
        try:
            summary = run_trial(runner, folder, reference, trial)
        except Exception:
            _LOG.exception("  went wrong; its folder stays in %s", folder)
            summary = {"jobs": 1, "went wrong": 1, "rows lost": 0, "rows doubled": 0}
            runner.give_up()
        _LOG.info("  %.0f s: %s", time.monotonic() - began, summary)
        sums.update(summary)
    return dict(sums)
