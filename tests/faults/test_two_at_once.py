"""Two that do the same work: an attempt that was taken for dead, and a second command."""

from __future__ import annotations

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.commit_records import read_commit
from pipelines.commits import SplitCommitter
from pipelines.fingerprint import FINGERPRINT_PARTS, fingerprint
from pipelines.finish import finish_job
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.plan import JobPlan
from pipelines.resume import is_finished, written_late
from pipelines.retrying import OutageError
from pipelines.sinks.parquet import ParquetSink
from tests.faults.kill_points import SPLITS, Job
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan
from tests.processes import python


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


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_an_attempt_that_is_overtaken_while_it_publishes_finds_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    # As on a file system without locks, or where the lock's holder was stopped.
    monkeypatch.setattr("pipelines.split_writer.file_lock", lambda _: contextlib.nullcontext())
    folder = OutputFolder(str(tmp_path))
    folder.begin(plan(), None)
    older, newer = begun(folder), begun(folder)
    replace, left, winners = storage.replace, moves, []

    def overtaken(source: str, target: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            winners.append(end(newer))
            folder.sweep(["00000"])
        replace(source, target)

    monkeypatch.setattr(storage, "replace", overtaken)
    assert [end(older)] == winners
    record = read_commit(folder, "00000", ParquetSink())
    assert record is not None
    assert (record["attempt"], record["predicted"], record["failed"]) == (winners[0], 999, 1)
    assert finish_job(plan(1), folder)["succeeded"]


def test_an_attempt_whose_files_were_swept_where_no_commit_holds_is_to_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = OutputFolder(str(tmp_path))
    folder.begin(plan(), None)
    attempt = begun(folder)
    replace = storage.replace

    def swept(source: str, target: str) -> None:
        folder.sweep(["00000"])
        replace(source, target)

    monkeypatch.setattr(storage, "replace", swept)
    with pytest.raises(OutageError, match="of split 00000. Received: .*No such file"):
        end(attempt)
    assert not list((tmp_path / "_mirrorbeam").rglob("00000*"))


@pytest.mark.slow
@pytest.mark.usefixtures("logical_cpus")
def test_two_commands_on_one_folder(tmp_path: Path):
    job = Job(tmp_path)
    command = ["-m", "pipelines", *job.arguments()]
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: python(*command, check=False), range(2)))
    assert 0 in [done.returncode for done in both], [done.stderr for done in both]
    assert len(job.committed()) == SPLITS
    assert job.wrong_rows() == (0, 0)
    assert (job.out / "_SUCCESS").exists()


def other(splits: int = 1) -> JobPlan:
    """The plan of another job."""
    parts = dict.fromkeys(FINGERPRINT_PARTS) | {"keep": ["other"]}
    return plan(splits, fingerprint=fingerprint(parts))


def attempt_of(job: JobPlan, folder: OutputFolder, index: int = 0) -> dict[str, Any] | None:
    """Scores a split as a worker of a job does."""
    committer = SplitCommitter(folder, ParquetSink(), INPUT_SCHEMA, plan_id=job.id)
    return committer.add(block(index, range(10), total=10))


def test_of_two_jobs_that_begin_at_once_one_has_the_folder(tmp_path: Path):
    folder = OutputFolder(str(tmp_path))
    jobs = [plan(), other(), plan(3), other(3)]
    with ThreadPoolExecutor(len(jobs)) as threads:
        began = list(threads.map(lambda job: folder.begin(job, None), jobs))
    assert began.count(True) == 1
    assert folder.read_plan() == jobs[began.index(True)]
    assert not list((tmp_path / "_mirrorbeam/tmp").iterdir())
    assert not folder.begin(plan(), other(7))


def test_a_worker_of_an_overwritten_job_adds_nothing(tmp_path: Path):
    folder = OutputFolder(str(tmp_path))
    assert folder.begin(plan(3), None)
    assert attempt_of(plan(3), folder) is not None
    assert folder.begin(other(), folder.read_plan())
    with pytest.raises(OutputError, match="expected the plan that this job began with"):
        attempt_of(plan(3), folder, 2)
    record = attempt_of(other(), folder)
    assert finish_job(other(), folder)["succeeded"]
    with pytest.raises(OutputError, match="has begun another job in this folder"):
        attempt_of(plan(3), folder)
    assert read_commit(folder, "00000", ParquetSink(), plan_id=other().id) == record
    assert [path.name for path in tmp_path.glob("part-*")] == ["part-00000.parquet"]
    assert is_finished(folder, other())


def test_a_record_of_another_job_does_not_count(tmp_path: Path):
    folder = OutputFolder(str(tmp_path))
    assert folder.begin(other(), None)
    # As a worker leaves it on an object store, which has no locks.
    committer = SplitCommitter(folder, ParquetSink(), INPUT_SCHEMA)
    committer.add(block(0, range(10), total=10))
    path = folder.commit("00000")
    record = json.loads(Path(path).read_text())
    folder.write_json(path, record | {"plan": plan(5).id})
    report = finish_job(other(), folder)
    assert not report["succeeded"]
    assert report["splits_withdrawn"] == 1
    assert attempt_of(other(), folder) is not None
    assert finish_job(other(), folder)["succeeded"]


def test_a_part_that_was_replaced_after_success_is_found(tmp_path: Path):
    folder = OutputFolder(str(tmp_path))
    job = plan(2)
    assert folder.begin(job, None)
    for index in range(2):
        attempt_of(job, folder, index)
    assert finish_job(job, folder)["succeeded"]
    assert is_finished(folder, job)
    part = Path(folder.part("00001", "parquet"))
    data = bytearray(part.read_bytes())
    part.write_bytes(data)
    # Written again, and the same.
    assert written_late(folder, job) == {"00001"}
    assert is_finished(folder, job)
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    assert not is_finished(folder, job)
    assert finish_job(job, folder)["splits_withdrawn"] == 1
    assert not Path(folder.success).exists()
