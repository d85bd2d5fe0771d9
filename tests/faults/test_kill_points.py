"""A job that is killed anywhere, and the same command again: every row once.

Some of the points; `make faults` goes through all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli import main
from tests.faults.kill_points import POINTS, SPLITS, Job, kill_and_resume

pytestmark = [pytest.mark.usefixtures("logical_cpus"), pytest.mark.slow]

SOME = [
    point for point in POINTS
    if point.name in ("before plan", "after part", "before success")
]  # fmt: skip


@pytest.mark.parametrize("point", SOME, ids=lambda point: point.name)
def test_killed_and_resumed(tmp_path: Path, point):
    outcome = kill_and_resume(tmp_path, point)
    assert (outcome.rows_lost, outcome.rows_doubled) == (0, 0)


def test_killed_again_and_again_and_while_overwriting(tmp_path: Path):
    job = Job(tmp_path)
    job.kill("after record", 1)
    job.kill("before part", 2)
    assert len(job.committed()) == 2
    job.kill("while deleting", 4, "--overwrite")
    assert not (job.out / "_SUCCESS").exists()
    assert main(job.arguments("--overwrite")) == 0
    assert len(job.committed()) == SPLITS
    assert job.wrong_rows() == (0, 0)
    job.require_clean()
