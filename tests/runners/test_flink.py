"""`mirrorbeam score` on Flink: embedded, and on a cluster of two task managers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.outputs import Rows, read_report
from tests.runners import flink_packages
from tests.runners.conftest import TASK_MANAGERS
from tests.runners.datasets import (
    ROWS,
    assert_same_rows,
    sorted_rows,
    workers_of,
)
from tests.runners.flink_cluster import FlinkCluster
from tests.runners.flink_flags import external_flags, flink_flags
from tests.runners.pools import RunningPool, end, start_command, wait_for

pytestmark = [
    pytest.mark.flink,
    pytest.mark.skipif(
        bool(flink_packages.missing_programs()),
        reason=f"not on PATH: {', '.join(flink_packages.missing_programs())}",
    ),
]

JOB_SECONDS = 300.0
# So many splits are committed when something is killed, of 80.
COMMITS_BEFORE_KILL = 6


@pytest.fixture(scope="module")
def expected(data: Path) -> Rows:
    """What the default runner gives."""
    output = data / "expected"
    log = data / "expected.log"
    wait_for(start_command(log, *score(data, output)), log, JOB_SECONDS)
    return sorted_rows(output)


@pytest.fixture
def start_pool(tmp_path: Path) -> Iterator[Callable[..., RunningPool]]:
    pools: list[RunningPool] = []

    def start(*flags: str) -> RunningPool:
        pools.append(RunningPool(tmp_path / f"pool-{len(pools)}.log", *flags))
        return pools[-1]

    yield start
    for pool in pools:
        pool.stop()


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, dict[str, Any]]]:
    """What the tests saw, written to the file that `FLINK_RESULTS` names."""
    seen: dict[str, dict[str, Any]] = {}
    yield seen
    path = os.environ.get("FLINK_RESULTS")
    if path:
        Path(path).write_text(json.dumps(seen, indent=1) + "\n")


def score(data: Path, output: Path, *flags: str) -> list[str]:
    return [
        "score", "--input", str(data / "in"), "--model", str(data / "mlp.keras"),
        "--output", str(output), "--split_bytes", "8KiB", *flags,
    ]  # fmt: skip


def commits(output: Path) -> list[dict[str, Any]]:
    paths = (output / "_mirrorbeam" / "commits").glob("*.json")
    return [json.loads(path.read_bytes()) for path in paths]


def summary(output: Path, seconds: float, started: list[int]) -> dict[str, Any]:
    report = read_report(output)
    return {
        "seconds": round(seconds, 1),
        "rows": report["rows_in"],
        "workers_started": len(started),
        "processes_that_scored": len(report["workers"]),
        "model_loads": sum(worker["model_loads"] for worker in report["workers"]),
        "batches": sum(report["batch_sizes"].values()),
        "batches_of_several_slots": sum(w["shared_batches"] for w in report["workers"]),
    }


def test_embedded_flink_gives_the_same_rows_from_one_model(
    job_server: Path, data: Path, expected: Rows, tmp_path: Path, figures: dict[str, Any]
):
    output, log = tmp_path / "out", tmp_path / "score.log"
    started_at = time.monotonic()
    process = start_command(log, *score(data, output, *flink_flags(job_server, "[local]", 2)))
    wait_for(process, log, JOB_SECONDS)
    assert_same_rows(sorted_rows(output), expected)
    assert {pid: worker["model_loads"] for pid, worker in workers_of(output).items()} == {
        process.pid: 1
    }
    figures["embedded"] = summary(output, time.monotonic() - started_at, [process.pid])


@pytest.mark.parametrize("workers", [1, 2])
def test_every_worker_process_loads_the_model_once(
    workers: int,
    idle_cluster: FlinkCluster,
    start_pool: Callable[..., RunningPool],
    job_server: Path,
    data: Path,
    expected: Rows,
    tmp_path: Path,
    figures: dict[str, Any],
):
    pool = start_pool("--processes")
    output, log = tmp_path / "out", tmp_path / "score.log"
    flags = [*flink_flags(job_server, idle_cluster.master, 4), *external_flags(pool, workers)]
    slow = [f"--preprocess={data / 'slow.py'}:pause", "--batch_size=150"]
    started_at = time.monotonic()
    wait_for(start_command(log, *score(data, output, *flags, *slow)), log, JOB_SECONDS)
    assert_same_rows(sorted_rows(output), expected)
    started, scored = pool.started(), workers_of(output)
    figures[f"cluster, {workers} per task manager"] = summary(
        output, time.monotonic() - started_at, started
    )
    assert len(started) == TASK_MANAGERS * workers
    assert set(scored) <= set(started)
    assert len(scored) >= TASK_MANAGERS
    assert all(worker["model_loads"] == 1 for worker in scored.values())
    assert sum(worker["rows"] for worker in scored.values()) == ROWS
    if workers == 1:
        assert all(worker["shared_batches"] > 0 for worker in scored.values())


def test_a_pool_of_threads_has_one_model_for_all_task_managers(
    idle_cluster: FlinkCluster,
    start_pool: Callable[..., RunningPool],
    job_server: Path,
    data: Path,
    expected: Rows,
    tmp_path: Path,
    figures: dict[str, Any],
):
    pool = start_pool("--threads")
    flags = [*flink_flags(job_server, idle_cluster.master, 4), *external_flags(pool)]
    slow = [f"--preprocess={data / 'slow.py'}:pause", "--batch_size=350"]
    for name in ("first", "second"):
        output, log = tmp_path / name, tmp_path / f"{name}.log"
        started_at = time.monotonic()
        wait_for(start_command(log, *score(data, output, *flags, *slow)), log, JOB_SECONDS)
        assert_same_rows(sorted_rows(output), expected)
        (worker,) = workers_of(output).values()
        assert worker["process"].endswith(f":{pool.process.pid}")
        assert worker["model_loads"] == 1
        assert worker["shared_batches"] > 0
        figures[f"cluster, threads, {name} job"] = summary(
            output, time.monotonic() - started_at, pool.started()
        )
    assert set(pool.started()) == {pool.process.pid}
    assert len(pool.started()) >= 2 * TASK_MANAGERS


@pytest.mark.parametrize("victim", ["worker", "task manager"])
def test_a_killed_process_costs_time_and_no_row(
    victim: str,
    idle_cluster: FlinkCluster,
    start_pool: Callable[..., RunningPool],
    job_server: Path,
    data: Path,
    expected: Rows,
    tmp_path: Path,
    figures: dict[str, Any],
):
    pool = start_pool("--processes")
    output, log = tmp_path / "out", tmp_path / "score.log"
    flags = [*flink_flags(job_server, idle_cluster.master, 2), *external_flags(pool)]
    slow = [f"--preprocess={data / 'slow.py'}:pause", "--batch_size=50"]
    started_at = time.monotonic()
    process = start_command(log, *score(data, output, *flags, *slow))
    try:
        while len(commits(output)) < COMMITS_BEFORE_KILL:
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() - started_at < JOB_SECONDS
            time.sleep(0.1)
        before = commits(output)
        killed_at = time.monotonic()
        if victim == "worker":
            os.kill(int(before[0]["run"]["process"].rpartition(":")[2]), signal.SIGKILL)
        else:
            idle_cluster.kill_task_manager(0)
        wait_for(process, log, JOB_SECONDS)
    finally:
        end(process)
        if victim == "task manager":
            idle_cluster.start_task_manager(0)
    seconds = time.monotonic() - killed_at
    assert_same_rows(sorted_rows(output), expected)
    after = {record["split"]: record["attempt"] for record in commits(output)}
    kept = sum(after[record["split"]] == record["attempt"] for record in before)
    assert kept == len(before)
    assert len(pool.started()) > TASK_MANAGERS
    figures[f"SIGKILL of a {victim}"] = summary(
        output, time.monotonic() - started_at, pool.started()
    ) | {
        "committed_before": len(before),
        "of_splits": len(after),
        "seconds_from_kill_to_end": round(seconds, 1),
        "every_row_once": True,
    }
