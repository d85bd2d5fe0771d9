"""The part of `make soak` that is on a Flink cluster, shortened: one job and its kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.soak.flink import FlinkRunner
from tests.faults.soak.loop import run_trial
from tests.faults.soak.trials import DRIVER_FOR_GOOD, WORKER, Trial
from tests.models import mlp_keras
from tests.runners import flink_packages
from tests.runners.flink_cluster import FlinkCluster

pytestmark = [
    pytest.mark.flink,
    pytest.mark.skipif(
        bool(flink_packages.missing_programs()),
        reason=f"not on PATH: {', '.join(flink_packages.missing_programs())}",
    ),
]


def test_a_job_whose_worker_and_command_are_killed_ends_exact(
    idle_cluster: FlinkCluster, job_server: Path, tmp_path: Path
) -> None:
    reference = mlp_keras(tmp_path)[1]
    trial = Trial(
        splits=20, rows=100, bad=0.05, threads=2, processes=True, most_rows=16,
        pause_seconds=0.01, kills=((WORKER, 0.2), (DRIVER_FOR_GOOD, 0.2)),
    )  # fmt: skip
    with FlinkRunner(job_server, idle_cluster, tmp_path) as runner:
        summary = run_trial(runner, tmp_path, reference, trial)
    assert (summary[f"{WORKER} killed"], summary[f"{DRIVER_FOR_GOOD} killed"]) == (1, 1)
    assert summary["done without its command"] == 1
    assert summary["out of memory"] > 0
    assert (summary["rows lost"], summary["rows doubled"]) == (0, 0)
    assert {name for name, held in runner.grown().items() if held["jobs"] == 1} == {
        "task manager", "pool of processes", "pool of threads, with its workers",
    }  # fmt: skip
