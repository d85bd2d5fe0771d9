"""A minute of `make soak`, always the same."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.faults.soak.job import Job
from tests.faults.soak.local import LocalRunner
from tests.faults.soak.many_jobs import run_apart
from tests.faults.soak.processes import growth, is_flat
from tests.faults.soak.trials import DRIVER, WORKER, Trial, draw_flink, draw_local
from tests.models import mlp_keras

pytestmark = [pytest.mark.usefixtures("logical_cpus"), pytest.mark.slow]


def test_killed_starved_and_fed_bad_rows(tmp_path: Path) -> None:
    reference = mlp_keras(tmp_path)[1]
    # Steps so slow that the job is not done before it is killed, where this process waits its turn.
    trial = Trial(
        splits=20, rows=100, bad=0.05, threads=2, processes=True, most_rows=16,
        pause_seconds=0.05, kills=((DRIVER, 0.2), (WORKER, 0.2)),
    )  # fmt: skip
    runner = LocalRunner()
    job = Job(tmp_path / "job", tmp_path / "mlp.keras", reference, trial, runner.flags(trial))
    runner.run(job)
    assert (job.counts[f"{DRIVER} killed"], job.counts[f"{WORKER} killed"]) == (1, 1)
    assert job.wrong_rows() == (0, 0)
    assert not job.left_behind()
    _require_that_wrong_rows_are_told(job)


def _require_that_wrong_rows_are_told(job: Job) -> None:
    part = job.out / "part-00003.parquet"
    rows = pq.read_table(part)
    pq.write_table(rows.slice(1), part)
    assert job.wrong_rows() == (1, 0)
    pq.write_table(rows, part)
    copied = job.out / "part-00020.parquet"
    shutil.copy(part, copied)
    assert job.wrong_rows() == (0, rows.num_rows)
    copied.unlink()
    scores = rows.schema.get_field_index("scores")
    others = rows.column("scores").take([*range(1, rows.num_rows), 0])
    pq.write_table(rows.set_column(scores, rows.schema.field(scores), others), part)
    with pytest.raises(AssertionError):
        job.wrong_rows()


def test_job_after_job_in_one_process(tmp_path: Path) -> None:
    assert is_flat(run_apart(tmp_path, jobs=15))


@pytest.mark.parametrize("name", ["bytes", "threads", "files"])
def test_what_grows_is_told(name: str) -> None:
    steady = {"bytes": 900 << 20, "threads": 30, "files": 6}
    step = (1 << 20) if name == "bytes" else 1
    leaking = [steady | {name: steady[name] + job * step} for job in range(50)]
    assert is_flat(growth([steady] * 50))
    assert not is_flat(growth(leaking))


def test_a_process_that_was_given_memory_may_fill_it() -> None:
    filling = [{"bytes": (900 + job) << 20, "threads": 30, "files": 6} for job in range(50)]
    assert is_flat(growth(filling) | {"mib_given": 1000})
    assert not is_flat(growth(filling) | {"mib_given": 930})


@pytest.mark.parametrize("jobs", [13, 50])
def test_a_jvm_may_start_threads_but_not_one_each_job(jobs: int) -> None:
    steady = {"bytes": 900 << 20, "threads": 70, "files": 6}
    settling = [steady | {"threads": 70 + job // 3} for job in range(jobs)]
    leaking = [steady | {"threads": 70 + job} for job in range(jobs)]
    assert is_flat(growth(settling) | {"mib_given": 1000})
    assert not is_flat(growth(leaking) | {"mib_given": 1000})


@pytest.mark.parametrize("draw", [draw_local, draw_flink])
def test_a_seed_stands_for_its_trials(draw: Callable[[random.Random], Trial]) -> None:
    first, second = ([draw(random.Random(7)) for _ in range(3)] for _ in range(2))
    assert first == second
