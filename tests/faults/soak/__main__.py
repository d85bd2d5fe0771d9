"""Jobs that are killed, starved of memory and fed bad rows at random, until the time is up.

    python -m tests.faults.soak --seconds 1800 --runners local,flink

Prints its seed, counts every row of every job, and writes `benchmarks/results/soak.json`. Ends
with exit code 1 where a row was lost, doubled or wrong, or where a process that lives on from
job to job keeps memory, threads or files; the folder of a wrong job stays.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from benchmarks.machine import describe_machine
from tests.faults.kill_points import ROOT
from tests.faults.soak.flink import SLOTS, TASK_MANAGERS, FlinkRunner
from tests.faults.soak.local import LocalRunner
from tests.faults.soak.loop import run_trials
from tests.faults.soak.many_jobs import run_apart
from tests.faults.soak.processes import is_flat
from tests.runners import flink_packages
from tests.runners.flink_cluster import FlinkCluster

RESULTS = ROOT / "benchmarks" / "results" / "soak.json"
RUNNERS = ("local", "flink")

_LOG = logging.getLogger(__name__)

# Jobs in one process: one for so many seconds of the whole, within these.
_SECONDS_PER_JOB, _FEWEST_JOBS, _MOST_JOBS = 20, 15, 50


def soak_local(folder: Path, seconds: float, rng: random.Random, jobs: int) -> dict[str, Any]:
    """Job after job in one process, then trials on FnApiRunner."""
    until = time.monotonic() + seconds
    held = run_apart(folder, jobs)
    _LOG.info("%s", held)
    trials = run_trials(LocalRunner(), folder, until - time.monotonic(), rng)
    return {"trials": trials, "held": {"one process": held}}


def soak_flink(folder: Path, seconds: float, rng: random.Random) -> dict[str, Any]:
    """A cluster, trials on it, its end."""
    job_server = flink_packages.install(flink_packages.FOLDER)
    until = time.monotonic() + seconds
    with (
        FlinkCluster(job_server, folder / "cluster", TASK_MANAGERS, SLOTS) as cluster,
        FlinkRunner(job_server, cluster, folder) as runner,
    ):
        trials = run_trials(runner, folder, until - time.monotonic(), rng)
        return {"trials": trials, "held": runner.grown()}


def chosen(runners: str | None) -> list[str]:
    """The runners that are asked for, or those that this machine has the programs for.

    Raises:
      ValueError: one is unknown, or lacks its programs.
    """
    missing = flink_packages.missing_programs()
    if runners is None:
        if missing:
            _LOG.warning("Flink is left out, not on PATH: %s", ", ".join(missing))
        return [name for name in RUNNERS if name != "flink" or not missing]
    names = runners.split(",")
    if not set(names) <= set(RUNNERS):
        raise ValueError(f"expected some of {','.join(RUNNERS)}. Received: {runners}.")
    if "flink" in names and missing:
        raise ValueError(
            f"expected {' and '.join(missing)} on PATH for Flink. Received: none. Install what "
            "is missing, or pass --runners=local.")
    return names


def main(argv: list[str] | None = None) -> int:
    """Soaks, writes, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="for all runners together")
    parser.add_argument("--runners", help="local,flink; default: those that can run here")
    parser.add_argument("--seed", type=int, help="of the trials; chosen at random")
    parser.add_argument("--jobs", type=int, help="in one process, one by one; 15 to 50 by default")
    parser.add_argument("--results", type=Path, default=RESULTS)
    flags = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    logging.getLogger("tests.faults.soak").setLevel(logging.INFO)
    _LOG.setLevel(logging.INFO)
    # So that it ends the cluster and the commands that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        runners = chosen(flags.runners)
    except ValueError as error:
        parser.error(str(error))
    seed = flags.seed if flags.seed is not None else random.SystemRandom().randrange(2**32)
    _LOG.info("seed %d", seed)
    share = flags.seconds / len(runners)
    jobs = flags.jobs or round(
        min(max(flags.seconds / _SECONDS_PER_JOB, _FEWEST_JOBS), _MOST_JOBS))
    results: dict[str, Any] = {
        "machine": describe_machine(), "seed": seed, "seconds": flags.seconds, "runners": {},
    }  # fmt: skip
    right = True
    for name in runners:
        folder = Path(tempfile.mkdtemp(prefix=f"soak-{name}-"))
        # By name, so that a runner's trials do not depend on which others are soaked.
        rng = random.Random(f"{seed} {name}")
        if name == "local":
            soaked = soak_local(folder, share, rng, jobs)
        else:
            soaked = soak_flink(folder, share, rng)
        results["runners"][name] = soaked
        if is_right(soaked):
            shutil.rmtree(folder)
        else:
            right = False
        _LOG.info("%s: %s", name, soaked)
    flags.results.write_text(json.dumps(results, indent=1) + "\n")
    return 0 if right else 1


def is_right(soaked: dict[str, Any]) -> bool:
    """Whether every job ended as it should, exact, and what lives on is as large as it was."""
    trials, held = soaked["trials"], soaked["held"]
    exact = not any(trials.get(name) for name in ("rows lost", "rows doubled", "went wrong"))
    return exact and all(is_flat(grown) for grown in held.values())


if __name__ == "__main__":
    sys.exit(main())
