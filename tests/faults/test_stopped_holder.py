"""A process that is stopped while it holds the commit lock, passed over, and woken too late."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import file_lock
from pipelines.commit_records import read_commit
from pipelines.commits import SplitCommitter
from pipelines.fingerprint import FINGERPRINT_PARTS, fingerprint
from pipelines.finish import finish_job, verify_job
from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan
from pipelines.sinks.parquet import ParquetSink
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan

ROOT = Path(__file__).parents[2]

# Stops before or after the rename of that number, or before a file of that name is made or deleted.
# The signal goes to the thread itself: one to the process would be taken by any of its threads
# some milliseconds later, when this one has given the lock back.
_STOPPED = """
import os, signal, sys, threading
from pipelines.finish import finish_job
from pipelines.output_folder import OutputFolder
from tests.faults.test_stopped_holder import commit_split
from tests.pipelines.jobs import plan

folder, what, index, splits, where = sys.argv[1:]
when, _, place = where.partition(" ")
renames, replace, stopped = 0, os.replace, False

def stop():
    global stopped
    if stopped:
        return
    stopped = True
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

def count_and_replace(*paths):
    global renames
    renames += 1
    if when == "before" and place == str(renames):
        stop()
    replace(*paths)
    if when == "after" and place == str(renames):
        stop()

def watch(event, arguments):
    named = when == "file" and any(str(value).endswith(place) for value in arguments)
    if named and event in ("open", "os.rename", "os.remove"):
        stop()

job = plan(int(splits))
os.replace = count_and_replace
sys.addaudithook(watch)
if what == "finish":
    print(finish_job(job, OutputFolder(folder), job.id)["succeeded"])
else:
    failures = int(what == "commit with a failure")
    print(commit_split(job, OutputFolder(folder), int(index), failures)["attempt"])
"""


OTHER_PARTS = dict.fromkeys(FINGERPRINT_PARTS) | {"keep": ["other"]}


def other(splits: int) -> JobPlan:
    """The plan of another job."""
    return plan(splits, fingerprint=fingerprint(OTHER_PARTS))


def commit_split(
    job: JobPlan, folder: OutputFolder, index: int = 0, failures: int = 0
) -> dict[str, Any]:
    """Scores a split of ten rows as a worker of a job does; so many of them fail."""
    committer = SplitCommitter(folder, ParquetSink(), INPUT_SCHEMA, plan_id=job.id)
    failed = [failure(row) for row in range(10 - failures, 10)]
    record = committer.add(block(index, range(10 - failures), failed, total=10))
    assert record is not None
    return record


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    short = functools.partial(file_lock.file_lock, patience_seconds=0.2)
    for module in ("split_writer", "output_folder", "finish"):
        monkeypatch.setattr(f"pipelines.{module}.file_lock", short, raising=False)


class Stopped:
    """A process that has stopped itself."""

    def __init__(self, folder: Path, what: str, index: int, splits: int, where: str) -> None:
        arguments = [str(folder), what, str(index), str(splits), where]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _STOPPED, *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + 60
        while self._state() != "T":
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)

    def _state(self) -> str:
        status = Path(f"/proc/{self._process.pid}/stat").read_text()
        return status.rpartition(") ")[2][0]

    def wake(self) -> tuple[int, str, str]:
        """Lets it go on; gives its exit code and what it said, once it has ended."""
        self._process.send_signal(signal.SIGCONT)
        said, errors = self._process.communicate(timeout=60)
        return self._process.returncode, said.strip(), errors


# Renamed are its failed part, its part and its record.
PLACES = ["before 1", "after 1", "before 2", "after 2", "before 3"]


@pytest.mark.parametrize("where", PLACES)
def test_one_that_was_passed_over_changes_nothing_after_success(tmp_path: Path, where: str):
    folder, job = OutputFolder(str(tmp_path)), plan(1)
    assert folder.begin(job, None)
    stopped = Stopped(tmp_path, "commit with a failure", 0, 1, where)
    record = commit_split(job, folder)
    assert finish_job(job, folder, job.id)["succeeded"]
    before = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    code, said, errors = stopped.wake()
    assert (code, said) == (0, record["attempt"]), errors
    after = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: (status.st_ino, status.st_mtime_ns) for path, status in after.items()} == {
        path: (status.st_ino, status.st_mtime_ns) for path, status in before.items()}
    assert read_commit(folder, "00000", ParquetSink(), plan_id=job.id) == record


@pytest.mark.parametrize("where", ["before 1", "after 1", "file failed/part-00000.parquet"])
def test_one_without_failures_leaves_the_failed_rows_of_another(tmp_path: Path, where: str):
    folder, job = OutputFolder(str(tmp_path)), plan(1)
    assert folder.begin(job, None)
    stopped = Stopped(tmp_path, "commit", 0, 1, where)
    record = commit_split(job, folder, failures=1)
    assert finish_job(job, folder, job.id)["succeeded"]
    code, _, errors = stopped.wake()
    assert code == 0, errors
    assert verify_job(job, folder, content=True).problems == []
    assert read_commit(folder, "00000", ParquetSink()) == record


@pytest.mark.parametrize("where", PLACES)
def test_one_whose_job_was_overwritten_leaves_nothing(tmp_path: Path, where: str):
    folder, job, new = OutputFolder(str(tmp_path)), plan(3), other(1)
    assert folder.begin(job, None)
    stopped = Stopped(tmp_path, "commit with a failure", 2, 3, where)
    assert folder.begin(new, folder.read_plan())
    commit_split(new, folder)
    assert finish_job(new, folder, new.id)["succeeded"]
    code, _, errors = stopped.wake()
    assert code == 1
    assert "has begun another job in this folder" in errors
    found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert found - {"report.html"} == {
        "plan.json", "report.json", "_SUCCESS", "part-00000.parquet", "00000.json"}
    assert not verify_job(new, folder, content=True).problems


@pytest.mark.parametrize("new", [other(2), plan(2)], ids=["other", "same"])
def test_a_finish_whose_job_was_overwritten_says_nothing(tmp_path: Path, new: JobPlan):
    folder, job = OutputFolder(str(tmp_path)), plan(2)
    assert folder.begin(job, None)
    for index in range(2):
        commit_split(job, folder, index)
    stopped = Stopped(tmp_path, "finish", 0, 2, "file /_SUCCESS")
    assert folder.begin(new, folder.read_plan())
    commit_split(new, folder)
    code, said, errors = stopped.wake()
    assert not Path(folder.success).exists()
    if new == job:
        assert (code, said) == (0, "False"), errors
    else:
        assert code == 1
        assert "has begun another job in this folder" in errors
