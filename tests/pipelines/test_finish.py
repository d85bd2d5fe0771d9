"""A job succeeds when every split's record agrees with its files, and says so last."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from benchmarks.slow_storage import FILES, REQUESTS
from pipelines import finish
from pipelines.commits import SplitCommitter
from pipelines.finish import finish_job, verify_job
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.plan import JobPlan
from pipelines.report import build_report, too_many_failed
from pipelines.sinks import sink_class
from pipelines.working_times import last_runs
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan


def job(
    path: Path, rows: int = 100, failed: int = 0, splits: int = 2, **changes: Any
) -> tuple[JobPlan, OutputFolder]:
    """A job of which every split is committed, with so many failed rows in each."""
    folder = OutputFolder(str(path))
    made = plan(splits, **changes)
    commits = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA)
    for index in range(splits):
        failures = [failure(row, stage="decode", error="ImageError") for row in range(failed)]
        commits.add(block(index, range(failed, rows), failures, rows))
    return made, folder


def test_a_good_job_gets_its_report_and_success(tmp_path: Path) -> None:
    made, folder = job(tmp_path, rows=100, failed=1)
    report = finish_job(made, folder)
    assert report["succeeded"]
    assert report["reasons"] == []
    assert (report["rows_in"], report["predicted"], report["failed"]) == (200, 198, 2)
    assert report["failures"] == {"decode": {"ImageError": 2}}
    assert (report["splits"], report["splits_committed"]) == (2, 2)
    parts = [tmp_path / "part-00000.parquet", tmp_path / "part-00001.parquet"]
    assert report["output_bytes"] == sum(part.stat().st_size for part in parts)
    assert json.loads(Path(folder.report).read_text()) == report
    assert (tmp_path / "_SUCCESS").read_bytes() == b""
    assert not (tmp_path / "_mirrorbeam" / "tmp").exists()


def test_a_folder_that_another_job_took_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = job(tmp_path)
    other = plan(3)
    assert folder.begin(made, None)

    def take_behind(*given: Any, **named: Any) -> finish.Verified:
        found = verify_job(*given, **named)
        assert folder.begin(other, made)
        commits = SplitCommitter(
            folder, sink_class("parquet")(), INPUT_SCHEMA, plan_id=other.id)
        commits.add(block(0, [0], total=1))
        return found

    monkeypatch.setattr(finish, "verify_job", take_behind)
    with pytest.raises(OutputError, match="has begun another job"):
        finish_job(made, folder, made.id)
    assert Path(folder.commit("00000")).exists()
    assert not Path(folder.success).exists()
    assert not Path(folder.report).exists()


def test_attempts_of_a_job_that_took_the_folder_are_left_alone(tmp_path: Path) -> None:
    made, folder = job(tmp_path)
    other = plan(3)
    assert folder.begin(other, None)
    attempt = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA, plan_id=other.id)
    attempt.add(block(0, range(5)))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="has begun another job"):
        finish_job(made, folder, made.id)
    assert set(tmp_path.rglob("*")) == before


def test_success_is_the_last_file_written(tmp_path: Path) -> None:
    finish_job(*job(tmp_path))
    written = [path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()]
    assert (tmp_path / "_SUCCESS").stat().st_mtime_ns == max(written)


def test_the_disk_has_all_before_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, seen = finish.sync_disk_of, []

    def note_and_sync(folder: str) -> None:
        seen.append({path.name for path in tmp_path.rglob("*") if path.is_file()})
        sync(folder)

    monkeypatch.setattr(finish, "sync_disk_of", note_and_sync)
    assert finish_job(*job(tmp_path))["succeeded"]
    [files] = seen
    assert {"part-00000.parquet", "part-00001.parquet", "00000.json", "00001.json"} <= files
    assert "_SUCCESS" not in files
    with pytest.raises(FileNotFoundError):
        sync(str(tmp_path / "gone"))


def test_finishing_twice_gives_the_same_outcome(tmp_path: Path) -> None:
    made, folder = job(tmp_path)
    first, second = finish_job(made, folder), finish_job(made, folder)
    assert (first["rows_in"], first["succeeded"]) == (second["rows_in"], second["succeeded"])


def test_what_killed_attempts_left_is_swept(tmp_path: Path) -> None:
    made, folder = job(tmp_path)
    leftover = Path(folder.temporary("00001-" + "a" * 32, "parquet"))
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"partial")
    finish_job(made, folder)
    assert not leftover.exists()


def test_a_job_without_rows_or_splits_succeeds(tmp_path: Path) -> None:
    for name, splits in (("empty files", 2), ("no files", 0)):
        report = finish_job(*job(tmp_path / name, rows=0, splits=splits))
        assert report["succeeded"]
        assert report["rows_in"] == 0
        assert (tmp_path / name / "_SUCCESS").exists()


@pytest.mark.parametrize(("failed", "rows", "fraction", "fails"), [
    (10, 10, 0.0, False),
    (11, 11, 0.01, True),
    (11, 1_100, 0.01, False),
    (12, 1_100, 0.01, True),
    (500, 1_000, 0.5, False),
    (501, 1_000, 0.5, True),
    (29, 100, 0.29, False),
    (30, 100, 0.29, True),
    (57, 100, 0.57, False),
    (6_900, 10_000, 0.69, False),
    (10, 999, 0.011, False),
    (11, 1_000, 0.011, False),
    (12, 1_000, 0.011, True),
    (0, 0, 0.0, False),
    (1_000, 1_000, 1.0, False),
])
def test_the_rule_of_failed_rows(failed: int, rows: int, fraction: float, fails: bool) -> None:
    reason = too_many_failed(failed, rows, fraction)
    assert (reason is not None) is fails
    if reason:
        assert f"Received: {failed}" in reason
        assert "--max_failed_fraction" in reason


def test_too_many_failed_rows_leave_all_committed_and_no_success(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, folder = job(tmp_path, rows=100, failed=10)
    with caplog.at_level(logging.ERROR):
        report = finish_job(made, folder)
    assert not report["succeeded"]
    assert report["reasons"] == [too_many_failed(20, 200, 0.01)]
    assert "expected at most 10 failed rows of 200. Received: 20" in caplog.text
    assert not (tmp_path / "_SUCCESS").exists()
    assert len(verify_job(made, folder, content=True)[0]) == 2
    # The same job with a higher limit finishes from what is committed.
    assert finish_job(plan(2, max_failed_fraction=0.1), folder)["succeeded"]
    assert (tmp_path / "_SUCCESS").exists()


def test_a_damaged_or_missing_split_fails_the_job_by_name(tmp_path: Path) -> None:
    made, folder = job(tmp_path, splits=3)
    finish_job(made, folder)
    part = tmp_path / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    data[10] ^= 1
    part.write_bytes(data)
    Path(folder.commit("00002")).unlink()
    report = finish_job(made, folder)
    assert not report["succeeded"]
    assert (report["splits"], report["splits_committed"]) == (3, 1)
    damaged, missing = report["reasons"]
    assert f"in {part}, as committed. Received: " in damaged
    assert missing == "expected split 00002 to be committed. Received: no record of it."
    assert not (tmp_path / "_SUCCESS").exists()


def commit(ended_at: float, rows: int = 10, run: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "rows_in": rows, "predicted": rows, "failed": 0, "failures": {}, "part": {"bytes": 1},
        "ended_at": ended_at, "run": run}


def test_a_part_of_a_job_that_was_replaced_fails_the_job(tmp_path: Path) -> None:
    made, folder = job(tmp_path)
    # A worker elsewhere does not see that its plan was replaced by one of fewer splits.
    late = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA, plan_id=None)
    late.add(block(2, range(5), total=5))
    (tmp_path / "part-notes.parquet").write_bytes(b"of the user")
    report = finish_job(made, folder)
    assert not report["succeeded"]
    assert (report["splits_committed"], report["splits_withdrawn"]) == (2, 0)
    assert report["reasons"] == [
        f"expected no parts but those of this job in {tmp_path}. Received: "
        f"{tmp_path}/part-00002.parquet, as a worker of a job that --overwrite replaced leaves "
        "it. See that none is at work, delete the file and give the same command again."]
    Path(folder.part("00002", "parquet")).unlink()
    assert finish_job(made, folder)["succeeded"]


def test_each_process_counts_once_with_its_last_word() -> None:
    early = {"process": "a:1", "rows": 5}
    late = {"process": "a:1", "rows": 9}
    other = {"process": "b:1", "rows": 1}
    commits = [commit(3, run=late), commit(1, run=early), commit(2, run=other), commit(4)]
    assert last_runs(commits) == [late, other]


def test_rates_batches_and_devices_come_from_the_workers() -> None:
    start = plan().started_at
    worker = {
        "devices": ["GPU:0", "GPU:1"], "batches": {"64": 3, "8": 1},
        "model_rows_per_second": 400.0}
    commits = [
        commit(start + 30, 6_000, worker | {"process": "a", "ready_at": start + 10}),
        commit(start + 20, 4_000, worker | {"process": "b", "ready_at": start + 12}),
    ]
    report = build_report(plan(2), commits, [], ended_at=start + 33)
    assert (report["seconds"], report["scoring_seconds"]) == (33.0, 20.0)
    assert report["rows_per_second"] == 500.0
    assert report["model_rows_per_second"] == 800.0
    assert report["rate_of_model"] == 0.625
    assert report["batch_sizes"] == {"8": 2, "64": 6}
    assert report["devices"] == ["GPU:0", "GPU:1"]
    assert report["started_at"] == "2023-11-14T22:13:20.000+00:00"
    assert report["ended_at"] == "2023-11-14T22:13:53.000+00:00"
    assert report["arguments"] == plan().arguments
    assert report["fingerprint"] == plan().fingerprint.digest
    assert {"python", "pyarrow", "tensorflow", "apache-beam"} <= set(report["versions"])
    assert json.loads(json.dumps(report)) == report


def test_unknown_rates_are_null() -> None:
    report = build_report(plan(), [], [], ended_at=plan().started_at)
    names = ("rows_per_second", "model_rows_per_second", "rate_of_model")
    assert [report[name] for name in names] == [None, None, None]


def test_only_the_last_record_of_a_process_keeps_its_run(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    commits = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA)
    for index in (2, 0, 1):
        commits.add(block(index, range(5), total=5, run_info={"process": "a", "rows": index}))
    commits.add(block(3, range(5), total=5, run_info={"process": "b"}))
    records, problems, *_ = verify_job(plan(4), folder, content=True)
    assert problems == []
    runs = [record["run"] and record["run"]["process"] for record in records]
    assert runs == [None, "a", None, "b"]
    written = [json.loads(Path(folder.commit(f"0000{index}")).read_text()) for index in range(4)]
    assert last_runs(records) == last_runs(written)


def test_a_report_names_some_of_many_problems(tmp_path: Path) -> None:
    report = finish_job(plan(150), OutputFolder(str(tmp_path)))
    assert len(report["reasons"]) == 101
    assert report["reasons"][-1] == "50 more splits are not as expected."


def test_finishing_asks_an_object_store_once_a_split() -> None:
    FILES.clear()
    REQUESTS.counts.clear()
    splits = 50
    folder = OutputFolder("slow://bucket/out")
    commits = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA)
    for index in range(splits):
        commits.add(block(index, range(5), total=5))
    REQUESTS.counts.clear()
    assert finish_job(plan(splits), folder)["succeeded"]
    assert REQUESTS.counts["read"] == splits
    assert REQUESTS.counts.total() < splits + 20
