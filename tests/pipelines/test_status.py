"""How far a job is, told from its folder."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.commits import SplitCommitter
from pipelines.finish import finish_job
from pipelines.output_folder import OutputFolder
from pipelines.runs import Run, end_run, read_runs, start_run
from pipelines.sinks import sink_class
from pipelines.splits import Split
from pipelines.status import describe_status, make_status, read_status
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan
from tests.pipelines.memory_filesystem import MemoryFileSystem
from tests.processes import python

NOW = 1_700_010_000.0


def record(index: int, ended_ago: float, rows: int = 100, failed: int = 0) -> dict[str, Any]:
    return {
        "split": f"{index:05d}", "rows_in": rows, "predicted": rows - failed, "failed": failed,
        "ended_at": NOW - ended_ago, "seconds": 5.0,
    }  # fmt: skip


def a_run(began_ago: float, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "name": "x", "started_at": NOW - began_ago, "arguments": {}, "max_failed_fraction": 0.01,
        "host": "elsewhere", "pid": 1,
    }  # fmt: skip
    return Run(**(values | changes))


HERE = a_run(100, host=os.uname().nodename, pid=os.getpid())


def splits_of(*sizes: int) -> tuple[Split, ...]:
    return tuple(Split(index, ("/in",), size_bytes=size) for index, size in enumerate(sizes))


def test_rates_and_what_remains() -> None:
    made = plan(8, rows=800)
    records = [record(0, 1500), record(1, 1000), record(2, 200, failed=1), record(3, 100)]
    status = make_status(made, records, [a_run(2000)], None, False, NOW)
    assert (status.state, status.splits, status.splits_committed) == ("running", 8, 4)
    assert (status.rows_in, status.predicted, status.failed, status.rows) == (400, 399, 1, 800)
    assert status.rows_per_second == 0.2
    assert status.recent_rows_per_second == pytest.approx(200 / 300, rel=1e-3)
    # Two splits took 300 s, and four are left.
    assert status.remaining_seconds == 600


def test_what_remains_goes_by_bytes() -> None:
    made = dataclasses.replace(plan(), splits=splits_of(100, 900, 3000))
    records = [record(0, 50), record(1, 10)]
    assert make_status(made, records, [a_run(100)], None, False, NOW).remaining_seconds == 300


def test_rates_are_of_the_last_run() -> None:
    records = [record(0, 90_000), record(1, 80_000), record(2, 50)]
    status = make_status(plan(4), records, [a_run(99_999), a_run(100)], None, False, NOW)
    assert (status.runs, status.rows_per_second) == (2, 1.0)
    assert status.remaining_seconds == 100


@pytest.mark.parametrize(("changes", "state"), [
    ({"runs": [a_run(100)]}, "running"),
    ({"runs": [a_run(100)], "succeeded": True}, "done"),
    ({"runs": [a_run(100, exit_code=1, ended_at=NOW)]}, "failed"),
    ({"runs": [a_run(100)], "report": {"succeeded": False, "reasons": ["x"]}}, "failed"),
    ({"runs": [a_run(100, host=os.uname().nodename, pid=2**22 + 1)]}, "stopped"),
    ({"runs": [a_run(100, host=os.uname().nodename, pid=2**22 + 1, detached=True)]}, "running"),
    ({"runs": [a_run(100, host=os.uname().nodename, pid=os.getpid())]}, "running"),
    ({"runs": [a_run(5000)]}, "silent"),
    ({"runs": [a_run(5000)], "records": [record(0, 550)]}, "running"),
    ({"runs": [a_run(5000)], "records": [record(0, 650)]}, "silent"),
    ({"runs": [a_run(5000)], "records": [record(0, 650) | {"seconds": 70.0}]}, "running"),
    ({"runs": []}, "silent"),
    ({"runs": [HERE, a_run(50, exit_code=1, ended_at=NOW)]}, "running"),
    ({"runs": [HERE, a_run(50, exit_code=1, ended_at=NOW, pid=os.getpid())]}, "failed"),
    ({"runs": [a_run(100), a_run(50, exit_code=1, ended_at=NOW)]}, "failed"),
    ({"runs": [a_run(100, exit_code=1, ended_at=NOW - 20, again_at=NOW + 40)]}, "waiting"),
    ({"runs": [a_run(900, exit_code=1, ended_at=NOW - 300, again_at=NOW - 240)]}, "failed"),
    ({"runs": [dataclasses.replace(
        HERE, exit_code=1, ended_at=NOW - 300, again_at=NOW - 240)]}, "waiting"),
    ({"runs": [dataclasses.replace(
        HERE, exit_code=1, ended_at=NOW - 9, again_at=NOW, pid=2**22 + 1)]}, "failed"),
    ({"runs": [dataclasses.replace(
        HERE, exit_code=1, ended_at=NOW - 990, again_at=NOW - 900)]}, "failed"),
    ({"runs": [
        a_run(100, exit_code=1, ended_at=NOW - 20, again_at=NOW - 10), a_run(5)]}, "running"),
])  # fmt: skip
def test_states(changes: dict[str, Any], state: str) -> None:
    values: dict[str, Any] = {"records": [], "report": None, "succeeded": False, "now": NOW}
    assert make_status(plan(2), **(values | changes)).state == state


def job(path: str, splits: int = 3) -> OutputFolder:
    folder = OutputFolder(path)
    folder.begin(plan(splits, started_at=time.time()), None)
    start_run(folder, {}, 0.01, time.time(), detached=False)
    return folder


def commit(folder: OutputFolder, *indexes: int) -> None:
    for index in indexes:
        committer = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA)
        committer.add(block(index, range(9), [failure(9)], 10))


@pytest.fixture(params=["", f"{MemoryFileSystem.scheme()}://"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}{uuid.uuid4().hex}/out" if request.param else str(tmp_path / "out")


def test_a_job_on_its_way_and_at_its_end(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = job(path)
    assert main(["status", path]) == 0
    told = capsys.readouterr().out
    assert "running" in told
    assert "0 of 3 committed (0%)" in told
    commit(folder, 0, 2)
    assert main(["status", path, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["state"], status["splits_committed"]) == ("running", 2)
    assert (status["rows_in"], status["predicted"], status["failed"]) == (20, 18, 2)
    assert status["last_commit_at"] == pytest.approx(time.time(), abs=60)
    commit(folder, 1)
    assert finish_job(plan(3), folder)["succeeded"]
    assert main(["status", path]) == 0
    assert "done" in capsys.readouterr().out


def test_a_job_that_failed_says_why(tmp_path: Path) -> None:
    folder = job(str(tmp_path))
    commit(folder, 0)
    finish_job(plan(3), folder)
    end_run(folder, read_runs(folder)[0], time.time(), 1)
    status = read_status(folder, time.time())
    assert status.state == "failed"
    told = describe_status(status, folder, time.time())
    assert "expected split 00001 to be committed" in told
    assert "the same command goes on" in told


@pytest.mark.parametrize("again_in", [None, 60])
def test_a_run_that_came_to_no_report_says_why(tmp_path: Path, again_in: float | None) -> None:
    folder, now = job(str(tmp_path)), time.time()
    again_at = again_in and now + again_in
    end_run(folder, read_runs(folder)[0], now, 1, again_at, "OSError: full: s3://b?token=hidden")
    status = read_status(folder, now)
    assert (status.state, status.again_at) == ("waiting" if again_in else "failed", again_at)
    assert status.reasons == ("OSError: full: s3://b?token=***",)
    assert "OSError: full" in describe_status(status, folder, now)


def test_a_job_with_too_many_failed_rows_is_not_told_to_be_given_again(tmp_path: Path) -> None:
    folder = job(str(tmp_path), splits=1)
    committer = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA)
    committer.add(block(0, range(9), [failure(row) for row in range(9, 29)], 29))
    assert not finish_job(plan(1), folder)["succeeded"]
    end_run(folder, read_runs(folder)[0], time.time(), 1)
    told = describe_status(read_status(folder, time.time()), folder, time.time())
    assert "failed, with all its splits committed: see the reason" in told
    assert "--max_failed_fraction" in told


def test_a_record_that_is_half_there_is_passed_over(tmp_path: Path) -> None:
    folder = job(str(tmp_path))
    commit(folder, 0)
    Path(folder.commit("00001")).write_text("{")
    assert read_status(folder, time.time()).splits_committed == 1
    Path(folder.commit("00001")).write_text('{"split": "00001", "rows_in": "many"}')
    Path(folder.report).write_text('{"rows_in": 10}')
    assert read_status(folder, time.time()).splits_committed == 1


def test_rates_and_what_remains_after_a_death_and_a_resumption(tmp_path: Path) -> None:
    folder = job(str(tmp_path))
    began = read_runs(folder)[0]
    died = dataclasses.replace(began, started_at=time.time() - 7200, pid=2**22 + 1)
    folder.write_json(folder.run(died.name), dataclasses.asdict(died))
    commit(folder, 0)
    record = json.loads(Path(folder.commit("00000")).read_text())
    folder.write_json(folder.commit("00000"), record | {"ended_at": died.started_at + 10})
    status = read_status(folder, time.time())
    assert (status.state, status.rows_per_second, status.remaining_seconds) == ("stopped", 1, 20)
    assert "remaining" not in describe_status(status, folder, time.time())
    start_run(folder, {}, 0.01, time.time() - 400, detached=False)
    status = read_status(folder, time.time())
    # Two hours in which nothing ran tell nothing.
    assert (status.state, status.rows_per_second, status.remaining_seconds) == (
        "running", None, None)
    commit(folder, 1)
    status = read_status(folder, time.time())
    assert status.rows_per_second == pytest.approx(10 / 400, rel=0.1)
    assert status.remaining_seconds == 300


def test_a_folder_that_is_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert "has no _mirrorbeam/plan.json. Pass the job's --output" in capsys.readouterr().err
    assert main(["status", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "_mirrorbeam").mkdir()
    for text in ("", "{", "[]", '{"mirrorbeam_plan": 1, "splits": []}'):
        (tmp_path / "_mirrorbeam/plan.json").write_text(text)
        assert main(["status", str(tmp_path)]) == 2
        assert "expected an output folder that can be read" in capsys.readouterr().err
    assert main(["status", "nowhere://bucket/out"]) == 2
    assert "nowhere://bucket/out" in capsys.readouterr().err


def test_what_beam_does_not_declare_is_refused(tmp_path: Path, capsys) -> None:
    path = job(str(tmp_path)).path
    assert main(["status", path, "--s3_region_name=us-east-1", "--project", "p"]) == 0
    capsys.readouterr()
    assert main(["status", path, "--s3_regoin_name=us-east-1"]) == 2
    told = capsys.readouterr().err
    assert "expected flags of mirrorbeam status or Beam pipeline options" in told
    assert "Did you mean --s3_region_name?" in told
    assert main(["status", path, "--disk_size_gb=large"]) == 2
    assert main(["status", path, "leftover"]) == 2


def test_a_remote_folder_needs_no_tensorflow(tmp_path: Path) -> None:
    commit(job(str(tmp_path)), 0)
    script = (
        "import sys; from tests.filesystem import ShelfFileSystem; from pathlib import Path\n"
        f"ShelfFileSystem.root = Path({str(tmp_path.parent)!r})\n"
        "from pipelines.cli import main; code = main(sys.argv[1:])\n"
        "sys.exit(code or 'tensorflow' in sys.modules)"
    )
    done = python("-c", script, "status", f"shelf://{tmp_path.name}", "--no_auth")
    assert "1 of 3 committed (33%)" in done.stdout


def test_a_local_folder_needs_neither_beam_nor_tensorflow(tmp_path: Path) -> None:
    commit(job(str(tmp_path)), 0)
    script = (
        "import sys; from pipelines.cli import main; code = main(sys.argv[1:]);"
        "sys.exit(code or 'apache_beam' in sys.modules or 'tensorflow' in sys.modules)"
    )
    done = python("-c", script, "status", str(tmp_path))
    assert "1 of 3 committed (33%)" in done.stdout
