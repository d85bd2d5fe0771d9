"""Who may write to an output folder, and what overwriting deletes."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.plan import JobPlan
from tests.pipelines.jobs import plan
from tests.pipelines.memory_filesystem import MemoryFileSystem


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def check(path: Path | str, given: str = "/nowhere/in") -> JobPlan | None:
    return OutputFolder(str(path)).check([given], "parquet")


def refusal(path: Path | str, given: str = "/nowhere/in") -> str:
    with pytest.raises(OutputError) as caught:
        check(path, given)
    message = str(caught.value)
    assert message.startswith("expected ")
    assert "Received: " in message
    return message


def test_everything_has_its_place(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    paths = [
        folder.part("00007", "csv"), folder.success, folder.plan, folder.commit("00007"),
        folder.failed_part("00007"), folder.report, folder.html_report]
    assert [str(Path(path).relative_to(tmp_path)) for path in paths] == [
        "part-00007.csv", "_SUCCESS", "_mirrorbeam/plan.json", "_mirrorbeam/commits/00007.json",
        "_mirrorbeam/failed/part-00007.parquet", "_mirrorbeam/report.json",
        "_mirrorbeam/report.html"]


def test_a_relative_folder_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = OutputFolder("out")
    monkeypatch.chdir("/")
    assert folder.path == str(tmp_path / "out")


def test_new_and_empty_folders_are_fine_and_stay_untouched(tmp_path: Path) -> None:
    assert check(tmp_path / "new" / "deep") is None
    assert tree(tmp_path) == set()
    (tmp_path / "empty" / "also empty").mkdir(parents=True)
    assert check(tmp_path / "empty") is None
    assert tree(tmp_path) == {"empty", "empty/also empty"}


@pytest.mark.parametrize("name", ["notes.txt", "_SUCCESS", "sub/part-00000.parquet"])
def test_a_folder_with_files_and_no_plan_is_refused_always(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    message = refusal(tmp_path)
    assert f"which holds {tmp_path / name} and no _mirrorbeam/plan.json" in message
    assert (tmp_path / name).read_text() == "mine"


def test_the_plan_of_an_earlier_job_is_given(tmp_path: Path) -> None:
    OutputFolder(str(tmp_path)).begin(plan(splits=3), earlier=None)
    assert check(tmp_path) == plan(splits=3)


def test_what_a_command_left_that_was_killed_while_it_wrote_its_plan_is_no_obstacle(
    tmp_path: Path,
) -> None:
    leftover = tmp_path / f"_mirrorbeam/tmp/{uuid.uuid4().hex}.json"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("{")
    assert check(tmp_path) is None
    (tmp_path / "_mirrorbeam/tmp/mine.json").write_text("{")
    assert "_mirrorbeam/tmp/mine.json and no" in refusal(tmp_path)


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"mirrorbeam_plan": 1}'])
def test_a_plan_of_others_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "_mirrorbeam").mkdir()
    (tmp_path / "_mirrorbeam" / "plan.json").write_text(text)
    message = refusal(tmp_path)
    assert "expected a plan of mirrorbeam in" in message
    assert ".." not in message


def test_a_plan_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    OutputFolder(str(tmp_path)).begin(plan(output_format="../../x"), earlier=None)
    assert "expected a plan of mirrorbeam in" in refusal(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "which is a file" in refusal(tmp_path / "file")


@pytest.mark.parametrize("name", ["out/_mirrorbeam/failed/again", "out/_mirrorbeam"])
def test_a_folder_that_a_job_keeps_for_itself_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="outside of what a job keeps in _mirrorbeam"):
        OutputFolder(str(tmp_path / name)).check([], "parquet")
    OutputFolder(str(tmp_path / "out/my_mirrorbeam")).check([], "parquet")


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "NotADirectoryError" in refusal(tmp_path / "file" / "out")
    # Not even root makes folders here.
    assert "see to its rights" in refusal("/proc/mirrorbeam")


def test_an_unknown_scheme_is_refused() -> None:
    assert "see to its rights" in refusal("nosuch://bucket/out")


def test_an_output_within_the_input_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path / "out", given=str(tmp_path))
    assert f"the output lies under the input {tmp_path}. Choose another --output." in message


def written_job(folder: OutputFolder, job: JobPlan) -> None:
    for split in job.splits:
        for path in (
            folder.part(split.name, "parquet"), folder.commit(split.name),
            folder.failed_part(split.name),
            folder.temporary(f"{split.name}-{uuid.uuid4().hex}", "parquet"),
            folder.temporary(f"{split.name}-failed-{uuid.uuid4().hex}", "parquet"),
        ):
            storage.create(path).close()
    run = folder.run(f"1700000000000-{uuid.uuid4().hex[:8]}")
    for path in (folder.success, folder.report, folder.html_report, folder.inputs, run):
        storage.create(path).close()
    folder.begin(job, earlier=None)


def test_clearing_deletes_the_jobs_own_files_and_nothing_else(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    written_job(folder, plan(splits=2))
    foreign = [
        "part-00002.parquet", "part-00000.csv", "notes.txt", "_mirrorbeam/commits/00002.json",
        "_mirrorbeam/failed/part-00009.parquet", "_mirrorbeam/tmp/mine.parquet",
        "_mirrorbeam/runs/mine.json",
        f"_mirrorbeam/tmp/00005-{uuid.uuid4().hex}.parquet", "data/part-00000.parquet"]
    (tmp_path / "data").mkdir()
    for name in foreign:
        (tmp_path / name).write_text("mine")
    folder.clear(plan(splits=2))
    left = {name for name in tree(tmp_path) if (tmp_path / name).is_file()}
    assert left == set(foreign)


def test_beginning_anew_leaves_the_new_plan_alone(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    written_job(folder, plan(splits=2))
    folder.begin(plan(splits=5, output_format="csv"), earlier=check(tmp_path))
    assert folder.read_plan() == plan(splits=5, output_format="csv")
    left = {name for name in tree(tmp_path) if (tmp_path / name).is_file()}
    assert left == {"_mirrorbeam/plan.json"}


def test_clearing_again_after_it_was_cut_short(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    written_job(folder, plan(splits=2))
    storage.delete([folder.part("00000", "parquet"), folder.commit("00001"), folder.success])
    folder.clear(plan(splits=2))
    assert {name for name in tree(tmp_path) if (tmp_path / name).is_file()} == set()


def test_an_object_store_is_checked_and_cleared_alike() -> None:
    path = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/out"
    folder = OutputFolder(f"{path}/")
    assert check(path) is None
    assert list(storage.list_files(path)) == []
    written_job(folder, plan(splits=2))
    found = check(path)
    assert found == plan(splits=2)
    folder.clear(found)
    assert list(storage.list_files(path)) == []
    storage.create(f"{path}/mine").close()
    assert "no _mirrorbeam/plan.json" in refusal(path)
