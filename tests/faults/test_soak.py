"""A minute of `make soak`, always the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.many_jobs import growth
from tests.faults.soak import Job, Trial, draw, is_flat, run_many_jobs
from tests.models import mlp_keras

pytestmark = [pytest.mark.usefixtures("logical_cpus"), pytest.mark.slow]


def test_killed_starved_and_fed_bad_rows(tmp_path: Path) -> None:
    reference = mlp_keras(tmp_path)[1]
    trial = Trial(
        splits=20, rows=100, bad=0.05, threads=2, processes=False, most_rows=16,
        kills=(("driver", 0.3), ("driver", 0.0)),
    )  # fmt: skip
    job = Job(tmp_path / "job", tmp_path / "mlp.keras", reference, trial)
    job.run()
    assert job.kills["driver"] == 2
    assert job.wrong_rows() == (0, 0)


def test_job_after_job_in_one_process(tmp_path: Path) -> None:
    assert is_flat(run_many_jobs(tmp_path, jobs=15))


@pytest.mark.parametrize("name", ["bytes", "threads", "files"])
def test_what_grows_is_told(name: str) -> None:
    steady = {"bytes": 900 << 20, "threads": 30, "files": 6}
    step = (1 << 20) if name == "bytes" else 1
    leaking = [steady | {name: steady[name] + job * step} for job in range(50)]
    assert is_flat(growth([steady] * 50))
    assert not is_flat(growth(leaking))


def test_a_seed_stands_for_its_trials() -> None:
    first, second = ([draw(random.Random(7)) for _ in range(3)] for _ in range(2))
    assert first == second
