"""`mirrorbeam report`: text, JSON and a page, of jobs at every point of their way."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.commits import SplitCommitter
from pipelines.finish import finish_job
from pipelines.output_folder import OutputFolder
from pipelines.runs import end_run, read_runs, start_run
from pipelines.sinks import sink_class
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan
from tests.pipelines.memory_filesystem import MemoryFileSystem
from tests.pipelines.pages import Page
from tests.processes import python

WORKER = {
    "process": "host:1", "devices": ["/device:CPU:0"], "replicas": 1, "model_loads": 1,
    "batches": {"128": 9, "64": 2}, "batch_rows": 128, "rows": 20, "out_of_memory": 3,
    "tensorflow": "2.21.0", "padded_rows": 5,
}  # fmt: skip


def job(path: str, splits: int = 3, committed: int = 3) -> OutputFolder:
    """A job on its way, each of its splits with one failed row."""
    folder = OutputFolder(path)
    folder.begin(plan(splits, started_at=time.time()), None)
    start_run(folder, {"model": "m.keras"}, 1.0, time.time(), detached=False)
    for index in range(committed):
        committer = SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA)
        failed = [failure(9, stage="decode", error="ImageError")]
        committer.add(block(index, range(9), failed, 10, dict(WORKER)))
    return folder


def finished(path: str) -> OutputFolder:
    folder = job(path)
    assert finish_job(plan(3), folder)["succeeded"]
    end_run(folder, read_runs(folder)[0], time.time(), 0)
    return folder


@pytest.fixture(params=["", f"{MemoryFileSystem.scheme()}://"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}{uuid.uuid4().hex}/out" if request.param else str(tmp_path / "out")


def test_a_finished_job_as_text_json_and_page(path: str, capsys, tmp_path: Path) -> None:
    folder = finished(path)
    assert main(["report", path]) == 0
    told = capsys.readouterr().out
    assert "result        done" in told
    assert "30 read, 27 predicted, 3 failed" in told
    assert "worker  devices  rows  batches by size  out of memory  model loads" in told
    assert "host:1  CPU:0      20  9×128, 2×64                  3            1" in told
    assert "decode     ImageError     3" in told
    assert main(["report", path, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows_in"] == 30
    assert "state" not in report
    to = tmp_path / "page.html"
    assert main(["report", path, "--to", str(to)]) == 0
    assert capsys.readouterr().out == ""
    page = Page(to.read_text())
    assert page.text.startswith("Done: ")
    assert "row 9 failed" in page.text
    assert folder.path in page.text


def test_json_is_the_report_file(tmp_path: Path, capsys) -> None:
    folder = finished(str(tmp_path))
    assert main(["report", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path(folder.report).read_text())


def test_the_last_transform_writes_the_same_page(tmp_path: Path, capsys) -> None:
    folder = job(str(tmp_path))
    finish_job(plan(3), folder)
    assert main(["report", str(tmp_path), "--format", "html"]) == 0
    assert Path(folder.html_report).read_text() == capsys.readouterr().out
    # Files that are written at once may have the same time.
    written = [file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()]
    assert Path(folder.success).stat().st_mtime_ns == max(written)


def test_a_job_that_runs_tells_what_is_known(path: str, capsys) -> None:
    job(path, committed=0)
    assert main(["report", path]) == 0
    assert "running: 0 of 3 splits are committed." in capsys.readouterr().out
    path += "2"
    job(path, committed=2)
    assert main(["report", path]) == 0
    told = capsys.readouterr().out
    assert "running: 2 of 3 splits are committed." in told
    assert "20 read, 18 predicted, 2 failed" in told
    assert main(["report", path, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["state"], report["succeeded"], report["splits_committed"]) == (
        "running", False, 2)
    assert report["versions"] == {"tensorflow": "2.21.0"}
    assert main(["report", path, "--format", "html"]) == 0
    page = Page(capsys.readouterr().out)
    assert page.text.startswith("Running: ")
    assert "row 9 failed" in page.text


def test_a_killed_job_tells_what_is_known(tmp_path: Path, capsys) -> None:
    folder = job(str(tmp_path), committed=1)
    run = read_runs(folder)[0]
    folder.write_json(folder.run(run.name), {**run.__dict__, "pid": 2**22 + 1})
    assert main(["report", str(tmp_path)]) == 0
    assert "stopped: 1 of 3 splits are committed." in capsys.readouterr().out
    assert main(["report", str(tmp_path), "--format", "html"]) == 0
    assert Page(capsys.readouterr().out).text.startswith("Stopped: ")


def test_a_job_that_failed_says_why(tmp_path: Path, capsys) -> None:
    folder = job(str(tmp_path), committed=2)
    assert not finish_job(plan(3), folder)["succeeded"]
    assert main(["report", str(tmp_path)]) == 0
    assert "failed: expected split 00002 to be committed" in capsys.readouterr().out
    page = Page(Path(folder.html_report).read_text())
    assert page.text.startswith("Failed: ")
    assert "expected split 00002 to be committed" in page.text


def test_a_report_of_another_shape_is_made_anew(tmp_path: Path, capsys) -> None:
    folder = finished(str(tmp_path))
    for text in ("{", "[]", '{"succeeded": true, "reasons": [], "rows_in": "many"}'):
        Path(folder.report).write_text(text)
        assert main(["report", str(tmp_path), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["state"], report["succeeded"], report["rows_in"]) == ("done", True, 30)


def test_to_another_filesystem_and_to_nowhere(tmp_path: Path, capsys) -> None:
    finished(str(tmp_path / "out"))
    target = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/report.json"
    assert main(["report", str(tmp_path / "out"), "--to", target]) == 0
    assert main(["report", str(tmp_path / "out"), "--format", "text", "--to", str(tmp_path)]) == 2
    assert "expected a file that can be written for --to" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "told"), [
    (["--to", "report.pdf"], "expected --to with a suffix that tells the format"),
    (["--json", "--format", "html"], "expected one format"),
    (["--format", "pdf"], "invalid choice: 'pdf'"),
    (["--s3_regoin_name=us-east-1"], "Did you mean --s3_region_name?"),
])  # fmt: skip
def test_wrong_commands(arguments: list[str], told: str, tmp_path: Path, capsys) -> None:
    finished(str(tmp_path))
    assert main(["report", str(tmp_path), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_that_is_no_output(tmp_path: Path, capsys) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "has no _mirrorbeam/plan.json. Pass the job's --output" in capsys.readouterr().err


def in_a_process(*arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the command where a package is not installed; fails if TensorFlow or Beam is loaded."""
    script = (
        "import importlib.util, sys\n"
        f"find, without = importlib.util.find_spec, {without!r}\n"
        "importlib.util.find_spec = lambda name, *a: None if name == without else find(name, *a)\n"
        "from pipelines.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'tensorflow', 'apache_beam', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(code or (str(heavy) if heavy else 0))"
    )
    return python("-c", script, "report", *arguments, check=False)


@pytest.mark.parametrize("chosen", ["text", "json", "html"])
def test_neither_beam_nor_tensorflow_is_needed(chosen: str, tmp_path: Path) -> None:
    finished(str(tmp_path))
    done = in_a_process(str(tmp_path), "--format", chosen)
    assert done.returncode == 0, done.stderr
    assert "ImageError" in done.stdout


def test_a_remote_folder_needs_no_tensorflow(tmp_path: Path) -> None:
    finished(str(tmp_path))
    script = (
        "import sys; from tests.filesystem import ShelfFileSystem; from pathlib import Path\n"
        f"ShelfFileSystem.root = Path({str(tmp_path.parent)!r})\n"
        "from pipelines.cli import main; code = main(sys.argv[1:])\n"
        "sys.exit(code or 'tensorflow' in sys.modules)"
    )
    folder, to = f"shelf://{tmp_path.name}", f"shelf://{tmp_path.name}/page.html"
    python("-c", script, "report", folder, "--to", to, "--no_auth")
    page = Page((tmp_path / "page.html").read_text())
    assert page.text.startswith(f"Done: {folder}")
    assert "row 9 failed" in page.text


def test_without_jinja_only_the_page_is_refused(tmp_path: Path) -> None:
    finished(str(tmp_path))
    for chosen in ("text", "json"):
        assert in_a_process(str(tmp_path), "--format", chosen, without="jinja2").returncode == 0
    refused = in_a_process(str(tmp_path), "--format", "html", without="jinja2")
    assert refused.returncode == 2
    assert "pip install jinja2" in refused.stderr
