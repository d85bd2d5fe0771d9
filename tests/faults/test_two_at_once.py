"""Two that do the same work: an attempt that was taken for dead, and a second command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.commit_records import read_commit
from pipelines.commits import SplitCommitter
from pipelines.output_folder import OutputFolder
from pipelines.sinks.parquet import ParquetSink
from tests.faults.kill_points import ROOT, SPLITS, Job
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan


def begun(folder: OutputFolder) -> SplitCommitter:
    """An attempt at the first split that has written half of it."""
    attempt = SplitCommitter(folder, ParquetSink(), INPUT_SCHEMA)
    attempt.add(block(0, range(500), [failure(500)]))
    return attempt


def end(attempt: SplitCommitter) -> str:
    """Writes the other half and commits; gives the attempt that is committed then."""
    record = attempt.add(block(0, range(501, 1000), total=1000))
    assert record is not None
    return str(record["attempt"])


@pytest.mark.parametrize("first", ["older", "newer"])
def test_an_attempt_that_was_taken_for_dead_changes_nothing(tmp_path: Path, first: str):
    folder = OutputFolder(str(tmp_path))
    folder.begin(plan(), None)
    older, newer = begun(folder), begun(folder)
    order = (older, newer) if first == "older" else (newer, older)
    winner = end(order[0])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert end(order[1]) == winner
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    # The loser deleted its own files on their way, and touched no other.
    assert after.items() <= before.items()
    assert not list((tmp_path / "_mirrorbeam/tmp").iterdir())
    record = read_commit(folder, "00000", ParquetSink())
    assert record is not None
    assert (record["attempt"], record["predicted"], record["failed"]) == (winner, 999, 1)
    rows = pq.read_table(folder.part("00000", "parquet"))["_row"].to_pylist()
    assert rows == [row for row in range(1000) if row != 500]


def test_an_attempt_whose_files_were_swept_finds_the_commit(tmp_path: Path):
    folder = OutputFolder(str(tmp_path))
    folder.begin(plan(), None)
    older, newer = begun(folder), begun(folder)
    winner = end(newer)
    folder.sweep(["00000"])
    assert end(older) == winner
    assert read_commit(folder, "00000", ParquetSink()) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("logical_cpus")
def test_two_commands_on_one_folder(tmp_path: Path):
    job = Job(tmp_path)
    command = [sys.executable, "-m", "pipelines", *job.arguments()]
    both = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    assert 0 in [process.returncode for process in both], errors
    assert len(job.committed()) == SPLITS
    assert job.wrong_rows() == (0, 0)
    assert (job.out / "_SUCCESS").exists()
