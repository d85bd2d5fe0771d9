"""The same command again does what is left; another one is refused and told why."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.finish import Verified, verify_job
from pipelines.user_code import function_digest, load_function
from tests.models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import column, read_report, read_rows
from tests.processes import python
from tests.references import Reference
from tests.saved_models import mlp_export

pytestmark = pytest.mark.usefixtures("logical_cpus")

FILES, ROWS = 4, 30


class Place:
    """A model, four input files of 30 rows each, and the command that scores them."""

    def __init__(self, folder: Path, reference: Reference) -> None:
        self.folder = folder
        self.reference = reference
        self.out = folder / "out"
        self.rows = reference.rows(FILES * ROWS)
        for file in range(FILES):
            self.write_input(file)

    def write_input(self, file: int, rows: int = ROWS) -> None:
        start = file * ROWS
        columns = {
            "id": np.arange(start, start + rows),
            "features": self.rows["features"][start : start + rows],
        }
        write_parquet(self.folder / f"in/{file}.parquet", columns)

    def arguments(self, *flags: str) -> list[str]:
        places = ["--model", str(self.folder / "mlp.keras"), "--input", str(self.folder / "in")]
        return ["score", *places, "--output", str(self.out), "--devices", "CPU:0", *flags]

    def score(self, *flags: str) -> int:
        return main(self.arguments(*flags))

    def forget(self, *splits: int) -> None:
        """Leaves the folder as a run leaves it that was killed before it came to these splits."""
        (self.out / "_SUCCESS").unlink()
        (self.out / "_mirrorbeam/report.json").unlink()
        for split in splits:
            self.record(split).unlink()
            self.part(split).unlink()

    def record(self, split: int) -> Path:
        return self.out / f"_mirrorbeam/commits/{split:05d}.json"

    def part(self, split: int) -> Path:
        return self.out / f"part-{split:05d}.parquet"

    def attempts(self) -> dict[int, str]:
        return {
            split: json.loads(self.record(split).read_text())["attempt"] for split in range(FILES)
        }

    def require_exact_rows(self) -> None:
        found = read_rows(self.out)
        np.testing.assert_array_equal(column(found, "id"), np.arange(FILES * ROWS))
        expected = self.reference(self.rows)["scores"]
        np.testing.assert_allclose(column(found, "scores"), expected, atol=1e-6)
        report = read_report(self.out)
        assert (report["rows_in"], report["predicted"]) == (len(found), len(found))
        assert report["splits"] == report["splits_committed"] == FILES
        assert (self.out / "_SUCCESS").exists()
        assert not (self.out / "_mirrorbeam/tmp").exists()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, mlp_keras(tmp_path)[1])


@pytest.fixture
def scored(place: Place) -> Place:
    assert place.score() == 0
    return place


def test_only_what_is_not_committed_is_done_again(scored: Place, capsys):
    before = scored.attempts()
    scored.forget(1, 3)
    leftover = scored.out / f"_mirrorbeam/tmp/00001-{'a' * 32}.parquet"
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"half a part")
    capsys.readouterr()
    assert scored.score() == 0
    after = scored.attempts()
    assert [split for split in range(FILES) if before[split] != after[split]] == [1, 3]
    scored.require_exact_rows()
    told = capsys.readouterr().out
    assert "4 splits, 2 of them committed already" in told
    assert "s in all, 2 runs" in told
    assert read_report(scored.out)["runs"] == 2


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_finished_job_says_so_at_once(scored: Place, capsys, monkeypatch):
    before = written(scored.out)
    monkeypatch.setattr("pipelines.inference_arguments.open_predictor", None)
    assert scored.score() == 0
    told = capsys.readouterr().out
    assert "nothing is left to score: 4 of 4 splits are committed, and the job has suc" in told
    assert "120 read, 120 predicted, 0 failed" in told
    assert written(scored.out) == before


def test_a_job_killed_before_success_is_only_finished(scored: Place, monkeypatch):
    scored.forget()
    monkeypatch.setattr("pipelines.inference_arguments.open_predictor", None)
    assert scored.score() == 0
    scored.require_exact_rows()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("damage", ["missing", "shorter", "flipped", "no record"])
def test_splits_whose_files_are_not_as_committed_are_redone(
    scored: Place, damage: str, finished: bool
):
    before = scored.attempts()
    data = bytearray(scored.part(2).read_bytes())
    if damage == "missing":
        scored.part(2).unlink()
    elif damage == "shorter":
        scored.part(2).write_bytes(data[:-5])
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        scored.part(2).write_bytes(data)
    else:
        scored.record(2).write_text("{")
    if not finished:
        scored.forget(0)
    elif damage == "no record":
        # A finished job's records are not read again.
        (scored.out / "_SUCCESS").unlink()
    assert scored.score() == 0
    scored.require_exact_rows()
    after = scored.attempts()
    redone = [2] if finished else [0, 2]
    assert [split for split in range(FILES) if before[split] != after[split]] == redone


def test_a_split_that_the_finish_of_another_command_withdrew_is_redone(
    scored: Place, monkeypatch: pytest.MonkeyPatch
):
    before = scored.attempts()
    scored.forget()

    def verify_behind(*given: Any, **named: Any) -> Verified:
        if scored.record(2).exists() and scored.attempts() == before:
            scored.record(2).unlink()
        return verify_job(*given, **named)

    monkeypatch.setattr("pipelines.finish.verify_job", verify_behind)
    assert scored.score() == 0
    scored.require_exact_rows()
    after = scored.attempts()
    assert [split for split in range(FILES) if before[split] != after[split]] == [2]


def differences(place: Place, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    capsys.readouterr()
    before = sorted(place.out.rglob("*"))
    assert place.score(*flags) == 2
    assert sorted(place.out.rglob("*")) == before
    told = " ".join(capsys.readouterr().err.split())
    assert "--overwrite deletes its output and starts anew, another --output leaves it" in told
    return told.partition("Received another one: ")[2].partition("; as planned → as given. ")[0]


def test_another_command_is_told_what_differs(scored: Place, capsys):
    told = differences(scored, capsys, "--keep", "none", "--output_format", "csv")
    assert told == "--keep (not given → none), --output_format (parquet → csv)"


def test_another_model_is_told(scored: Place, capsys):
    mlp_keras(scored.folder)
    told = differences(scored, capsys)
    assert re.fullmatch(r"the content of --model \([0-9a-f]{8} → [0-9a-f]{8}\)", told)


def test_changed_inputs_are_named(scored: Place, capsys):
    scored.write_input(0, rows=20)
    folder = scored.folder / "in"
    (folder / "1.parquet").touch()
    (folder / "2.parquet").rename(folder / "9.parquet")
    told = differences(scored, capsys)
    sizes = told.partition("0.parquet (")[2].partition(")")[0]
    assert told == (
        f"--input (changed: {folder}/0.parquet ({sizes}), {folder}/1.parquet (written again); "
        f"vanished: {folder}/2.parquet; new: {folder}/9.parquet)"
    )
    assert sizes.endswith(" bytes")


def test_what_changes_no_row_may_change(scored: Place, caplog: pytest.LogCaptureFixture):
    scored.forget(0)
    flags = ("--split_bytes", "100", "--batch_size", "7", "--max_failed_fraction", "0.5")
    with caplog.at_level(logging.INFO):
        assert scored.score(*flags) == 0
    scored.require_exact_rows()
    assert "--split_bytes 100 is passed over" in caplog.text
    report = read_report(scored.out)
    assert report["max_failed_fraction"] == 0.5
    assert report["arguments"]["batch_size"] == 7


def test_a_job_goes_on_without_the_list_of_its_inputs(scored: Place, capsys):
    scored.forget(1)
    inputs = scored.out / "_mirrorbeam/inputs.json"
    listed = inputs.read_text()
    inputs.unlink()
    assert scored.score() == 0
    scored.require_exact_rows()
    assert inputs.read_text() == listed
    inputs.write_text("{}")
    scored.write_input(0)
    assert re.fullmatch(
        r"--input \(\d files of [\d,]+ bytes, but not the same\)",
        differences(scored, capsys),
    )


def test_overwriting_does_all_again(scored: Place):
    before = scored.attempts()
    assert scored.score("--overwrite") == 0
    assert not set(before.values()) & set(scored.attempts().values())
    scored.require_exact_rows()
    assert read_report(scored.out)["runs"] == 1


def test_a_dry_run_tells_how_far_the_job_is(scored: Place, capsys):
    scored.forget(1)
    capsys.readouterr()
    assert scored.score("--dry_run") == 0
    assert "4 splits, 3 of them committed already" in capsys.readouterr().out
    assert not scored.part(1).exists()


def test_a_run_that_may_still_be_at_work_is_told_of(
    scored: Place, caplog: pytest.LogCaptureFixture
):
    scored.forget(1)
    change_last_run(scored.out, ended_at=None, exit_code=None, pid=1)
    assert scored.score() == 0
    assert "another run of this job may still be at work: process 1 on " in caplog.text
    caplog.clear()
    scored.forget(1)
    change_last_run(scored.out, ended_at=None, exit_code=None, pid=2**22 + 1)
    assert scored.score() == 0
    assert "may still be at work" not in caplog.text


def change_last_run(out: Path, **changes: object) -> None:
    path = max((out / "_mirrorbeam/runs").iterdir())
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


RUN_AND_LIST_MODULES = (
    "import sys; from pipelines.cli import main; code = main(sys.argv[1:]);"
    "print('code', code, 'heavy', [n for n in ('tensorflow', 'keras') if n in sys.modules])"
)


def without_tensorflow(place: Place, *flags: str) -> tuple[int, str]:
    """Scores in a process of its own; the exit code, and what was said."""
    done = python("-c", RUN_AND_LIST_MODULES, *place.arguments(*flags))
    _, code, _, heavy = done.stdout.splitlines()[-1].split(" ", 3)
    assert heavy == "[]", done.stderr
    return int(code), done.stdout + done.stderr


def test_a_finished_job_is_known_without_tensorflow(scored: Place):
    code, told = without_tensorflow(scored)
    assert code == 0
    assert "nothing is left to score" in told
    assert without_tensorflow(scored, "--dry_run")[0] == 0
    scored.forget()
    code, told = without_tensorflow(scored)
    assert code == 0
    assert "120 read, 120 predicted" in told
    scored.require_exact_rows()


def test_another_command_is_known_without_tensorflow(scored: Place):
    scored.forget(1)
    code, told = without_tensorflow(scored, "--keep", "none")
    assert code == 2
    assert "another one: --keep (not given → none);" in told
    mlp_keras(scored.folder)
    code, told = without_tensorflow(scored)
    assert code == 2
    assert "another one: the content of --model (" in told


PREPROCESS = """
import tensorflow as tf

def doubled(features):
    return 2 * tf.cast(features, tf.float32)
"""


def test_a_function_of_tensors_is_known_by_its_text(place: Place):
    code = place.folder / "prepare.py"
    code.write_text(PREPROCESS)
    flags = ("--preprocess", f"{code}:doubled")
    assert place.score(*flags) == 0
    assert without_tensorflow(place, *flags)[0] == 0
    code.write_text(PREPROCESS.replace("2 *", "3 *"))
    exit_code, told = without_tensorflow(place, *flags)
    assert exit_code == 2
    assert "another one: the text of --preprocess (" in told


def test_a_digest_without_running_the_code_is_that_of_the_code(tmp_path: Path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "import sys\n\ndef same(x):\n    return x  # \u00e9, and no line end"
    (tmp_path / "given_as_module.py").write_text(text)
    (tmp_path / "given_as_file.py").write_bytes(text.replace("\n", "\r\n").encode())
    references = ("given_as_module:same", f"{tmp_path}/given_as_file.py:same")
    digests = [function_digest(reference) for reference in references]
    assert "given_as_module" not in sys.modules
    assert None not in digests
    assert digests == [load_function(reference).digest for reference in references]
    assert function_digest("sys:exit") is None
    assert function_digest("no_such_module:f") is None
    assert function_digest(f"{tmp_path}/nowhere.py:f") is None


def test_a_saved_model_is_known_by_its_content(place: Place):
    mlp_export(place.folder)
    flags = ("--model", str(place.folder / "mlp_export"))
    assert place.score(*flags) == 0
    assert without_tensorflow(place, *flags)[0] == 0
    named = (*flags, "--signature", "serving_default")
    assert without_tensorflow(place, *named)[0] == 0
    other = (*flags, "--signature", "serve")
    exit_code, told = without_tensorflow(place, *other)
    assert exit_code == 2
    assert "another one: --signature (serving_default → serve);" in told
