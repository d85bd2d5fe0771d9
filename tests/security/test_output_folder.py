"""An output folder in which somebody wrote what we did not."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.commit_records import CommitError, read_commit
from pipelines.finish import finish_job
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.sinks import sink_class
from pipelines.splits import Split
from tests.faults.kill_points import ROOT
from tests.pipelines.jobs import plan, split
from tests.pipelines.test_finish import job

PARQUET = sink_class("parquet")()


@pytest.mark.parametrize("changes", [
    {"index": "../../x"}, {"index": "00000"}, {"index": -1}, {"index": 1.5}, {"index": True},
    {"index": None}, {"digits": "5d}/{0:"}, {"digits": -3}, {"digits": 10**6},
])
def test_a_plan_whose_split_names_no_number_is_refused(tmp_path: Path, changes: dict) -> None:
    folder = OutputFolder(str(tmp_path / "out"))
    values = json.loads(plan(1).to_json())
    values["splits"][0] |= changes
    folder.write_json(folder.plan, values)
    with pytest.raises(OutputError, match="expected a plan of mirrorbeam"):
        folder.read_plan()


@pytest.mark.parametrize("output_format", ["../../x", "parquet/../../x", None, ["parquet"]])
def test_a_plan_of_another_format_is_refused(tmp_path: Path, output_format: Any) -> None:
    folder = OutputFolder(str(tmp_path / "out"))
    values = json.loads(plan(1).to_json()) | {"output_format": output_format}
    folder.write_json(folder.plan, values)
    with pytest.raises(OutputError, match="expected a plan of mirrorbeam"):
        folder.read_plan()


@pytest.mark.parametrize("changes", [
    {"split": "../../etc/passwd"}, {"split": 0}, {"part": "/etc/passwd"}, {"part": None},
    {"part": {"path": "/etc/passwd", "rows": 1, "bytes": 1, "crc32c": ""}}, {"rows_in": "many"},
])
def test_a_record_says_nothing_of_other_files(tmp_path: Path, changes: dict) -> None:
    _, folder = job(tmp_path / "out", splits=1)
    path = Path(folder.commit("00000"))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CommitError):
        read_commit(folder, "00000", PARQUET)


@pytest.mark.parametrize("text", ["[]", "7", "null", '"x"', "[" * 100_000, "\x00"])
def test_a_record_that_is_none_is_an_error_of_its_split(tmp_path: Path, text: str) -> None:
    made, folder = job(tmp_path / "out", splits=2)
    Path(folder.commit("00000")).write_text(text)
    report = finish_job(made, folder)
    assert not report["succeeded"]
    assert report["splits_committed"] == 1


def test_overwriting_deletes_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "part-00000.parquet"
    outside.write_bytes(b"not ours")
    _, folder = job(tmp_path / "out", splits=1)
    (tmp_path / "out/_mirrorbeam/runs").mkdir()
    mine = tmp_path / "out/_mirrorbeam/runs/notes.txt"
    mine.write_text("of the user")
    folder.clear(plan(1))
    assert outside.read_bytes() == b"not ours"
    assert mine.exists()


def test_a_split_reads_back_as_it_was() -> None:
    made = split(3)
    assert Split.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_nothing_that_is_read_is_unpickled() -> None:
    """Where the word appears at all, it is about this process's own child."""
    found = set()
    for path in [*(ROOT / "pipelines").rglob("*.py"), *(ROOT / "transforms").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                last = called.rpartition(".")[2]
                unsafe = last in ("loads", "load") and not called.startswith("json.")
                if unsafe or called in ("eval", "exec") or "allow_pickle" in ast.unparse(node):
                    found.add((path.relative_to(ROOT).as_posix(), called))
    unpickling = {item for item in found if "pickle" in item[1] or item[1] in ("eval", "exec")}
    # `exec` runs the text of the user's own --preprocess.
    assert unpickling <= {
        ("transforms/engine/signature_process.py", "pickle.loads"),
        ("pipelines/user_code.py", "exec"),
    }
