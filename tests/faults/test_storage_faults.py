"""Storage that fails for a moment, for good, or because it is full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines import persistence, retrying
from pipelines.cli import main
from pipelines.output_folder import OutputFolder
from pipelines.retrying import OutageError
from pipelines.sources.base import ReadRequest
from pipelines.sources.image_files import ImageFile
from pipelines.sources.images import IMAGE_SCHEMA, ImagesSource
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.sources.origins import Origin
from pipelines.sources.source_rows import SourceRows
from pipelines.splits import Split
from pipelines.status import describe_status, read_status
from tests.faults.flaky_filesystem import FlakyFileSystem
from tests.faults.kill_points import ROOT
from tests.filesystem import ShelfFileSystem
from tests.models import mlp_keras
from tests.pipelines.inputs import write_jsonl, write_parquet
from tests.pipelines.outputs import column, read_report, read_rows
from tests.processes import python, run_program
from tests.references import Reference

pytestmark = pytest.mark.usefixtures("logical_cpus")

ROWS = 40


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reference]:
    monkeypatch.setattr(ShelfFileSystem, "root", tmp_path / "shelf")
    monkeypatch.setattr(retrying, "PAUSES_SECONDS", (0.001,) * len(retrying.PAUSES_SECONDS))
    pauses = (0.01,) * len(persistence.OUTAGE_PAUSES_SECONDS)
    monkeypatch.setattr(persistence, "OUTAGE_PAUSES_SECONDS", pauses)
    reference = mlp_keras(tmp_path)[1]
    yield reference
    FlakyFileSystem.fail()


def arguments(folder: Path, output: str) -> list[str]:
    model, source = str(folder / "mlp.keras"), str(folder / "in")
    return [
        "score", "--model", model, "--input", source, "--output", output, "--devices", "CPU:0",
    ]  # fmt: skip


def write_inputs(folder: Path, reference: Reference, rows: int = ROWS) -> dict[str, np.ndarray]:
    made = reference.rows(2 * rows)
    for file in range(2):
        own = slice(file * rows, (file + 1) * rows)
        columns = {"id": np.arange(own.start, own.stop), "features": made["features"][own]}
        write_parquet(folder / f"in/{file}.parquet", columns)
    return made


def require_exact(out: Path, reference: Reference, rows: dict[str, np.ndarray]) -> None:
    found = read_rows(out)
    np.testing.assert_array_equal(column(found, "id"), np.arange(len(rows["features"])))
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)
    assert (out / "_SUCCESS").exists()


OPERATIONS = ("create", "open", "rename", "answer", "exists", "match", "delete")


def test_what_fails_for_a_moment_is_tried_again(tmp_path: Path, reference: Reference):
    rows = write_inputs(tmp_path, reference)
    FlakyFileSystem.fail(**dict.fromkeys(OPERATIONS, 1))
    # With the second command plans and parts are replaced and deleted too.
    for flags in ([], ["--overwrite"]):
        assert main([*arguments(tmp_path, "flaky://bucket/out"), *flags]) == 0
        require_exact(tmp_path / "shelf/bucket/out", reference, rows)
    assert set(FlakyFileSystem.failed) == set(OPERATIONS)


@pytest.mark.parametrize("operation", ["create", "rename", "exists"])
def test_what_fails_for_good_fails_the_job_and_the_rest_stays(
    tmp_path: Path, reference: Reference, operation: str, caplog: pytest.LogCaptureFixture
):
    rows = write_inputs(tmp_path, reference)
    out = tmp_path / "shelf/bucket/out"
    FlakyFileSystem.fail(only="00001", **{operation: 99})
    command = arguments(tmp_path, "flaky://bucket/out")
    assert main([*command, "--direct_num_workers=1"]) == 1
    assert "the job failed: " in caplog.text
    assert not (out / "_SUCCESS").exists()
    assert not (out / "_mirrorbeam/commits/00001.json").exists()
    FlakyFileSystem.fail()
    assert main(command) == 0
    require_exact(out, reference, rows)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("where", ["/tmp/00001-", "/commits/00001"])
def test_a_write_that_breaks_off_is_done_again(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture, threads: int, where: str
):
    rows = write_inputs(tmp_path, reference, rows=400)
    operation = "write" if where == "/tmp/00001-" else "rename"
    # A rename is tried five times by itself.
    FlakyFileSystem.fail(only=where, **{operation: 1 if operation == "write" else 5})
    command = arguments(tmp_path, "flaky://bucket/out")
    assert main([*command, f"--direct_num_workers={threads}"]) == 0
    assert FlakyFileSystem.failed[operation] == (1 if operation == "write" else 5)
    assert caplog.text.count("storage failed: going on in ") == 1
    out = tmp_path / "shelf/bucket/out"
    require_exact(out, reference, rows)
    assert read_report(out)["runs"] == 2
    assert not (out / "_mirrorbeam/tmp").exists() or not list((out / "_mirrorbeam/tmp").iterdir())


def test_storage_that_fails_between_two_runs_is_waited_for(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
):
    rows = write_inputs(tmp_path, reference)
    # The first finish, the count behind it and the second run's look at what is committed.
    FlakyFileSystem.fail(only="/commits/", match=5 * 3)
    assert main([*arguments(tmp_path, "flaky://bucket/out"), "--direct_num_workers=1"]) == 0
    assert FlakyFileSystem.failed["match"] == 5 * 3
    assert "the job cannot go on: expected storage that can be reached" in caplog.text
    require_exact(tmp_path / "shelf/bucket/out", reference, rows)


def test_status_says_that_a_command_waits_until_it_is_killed(tmp_path: Path, reference: Reference):
    write_inputs(tmp_path, reference)
    out = tmp_path / "shelf/bucket/out"
    command = [sys.executable, "-c", _IN_AN_OUTAGE, str(tmp_path / "shelf")]
    with subprocess.Popen(
        [*command, *arguments(tmp_path, "flaky://bucket/out"), "--direct_num_workers=1"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any("storage failed: going on in" in line for line in process.stderr)
        status = read_status(OutputFolder(str(out)), now=time.time())
        assert status.state == "waiting"
        assert "goes on" in describe_status(status, OutputFolder(str(out)), now=time.time())
        process.kill()
    assert read_status(OutputFolder(str(out)), now=time.time()).state == "failed"


_IN_AN_OUTAGE = """
import sys
from pathlib import Path
from pipelines import retrying
from pipelines.cli import main
from tests.faults.flaky_filesystem import FlakyFileSystem
from tests.filesystem import ShelfFileSystem

ShelfFileSystem.root = Path(sys.argv[1])
retrying.PAUSES_SECONDS = (0.001,) * len(retrying.PAUSES_SECONDS)
FlakyFileSystem.fail(only="/commits/", match=5 * 3)
sys.exit(main(sys.argv[2:]))
"""


def test_a_job_whose_storage_gets_somewhere_goes_on_and_on(tmp_path: Path, reference: Reference):
    rows = write_inputs(tmp_path, reference, rows=400)
    FlakyFileSystem.fail(only="/part-0000", rename=5 * 3)
    # Each of two parts costs three runs and appears in the fourth.
    assert main([*arguments(tmp_path, "flaky://bucket/out"), "--direct_num_workers=1"]) == 0
    require_exact(tmp_path / "shelf/bucket/out", reference, rows)


def test_a_read_that_breaks_off_is_read_on(tmp_path: Path, reference: Reference):
    rows = write_inputs(tmp_path, reference, rows=4000)
    (tmp_path / "shelf").mkdir()
    (tmp_path / "in").rename(tmp_path / "shelf/in")
    FlakyFileSystem.fail(only=".parquet", read=3)
    command = arguments(tmp_path, "flaky://out")
    command[command.index("--input") + 1] = "flaky://in"
    assert main(command) == 0
    assert FlakyFileSystem.failed["read"] == 3
    require_exact(tmp_path / "shelf/out", reference, rows)
    assert read_report(tmp_path / "shelf/out")["runs"] == 1


def test_input_out_of_reach_is_no_failed_row(tmp_path: Path, reference: Reference, caplog):
    rows = write_inputs(tmp_path, reference, rows=4000)
    (tmp_path / "shelf").mkdir()
    (tmp_path / "in").rename(tmp_path / "shelf/in")
    command = [*arguments(tmp_path, "flaky://out"), "--direct_num_workers=1"]
    command[command.index("--input") + 1] = "flaky://in"
    assert main([*command, "--dry_run"]) == 0
    FlakyFileSystem.fail(only="in/1.parquet", read=10**6)
    assert main(command) in (1, 2)
    FlakyFileSystem.fail()
    assert main(command) == 0
    require_exact(tmp_path / "shelf/out", reference, rows)
    assert read_report(tmp_path / "shelf/out")["failed"] == 0


def test_files_that_a_table_names_are_waited_for(tmp_path: Path, reference: Reference):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    write_jsonl(shelf / "in.jsonl", [{"id": 7}])
    schema = pa.schema([("id", pa.int64())])
    source = JsonLinesSource().prepared(ReadRequest(schema, kept=("id",)))
    origin = Origin("jsonl", "row", schema)
    FlakyFileSystem.fail(exists=10)
    for _ in range(2):
        with pytest.raises(OutageError):
            SourceRows(source, origin, "flaky://in.jsonl")
    found = SourceRows(source, origin, "flaky://in.jsonl").find(0)
    assert isinstance(found, pa.RecordBatch)
    assert found.column("id").to_pylist() == [7]

    FlakyFileSystem.fail(exists=5)
    images = ImagesSource().prepared(ReadRequest(IMAGE_SCHEMA, kept=("image",)))
    named = ImageFile("flaky://none.png", is_named_by_data=True)
    split = Split(0, (named.path,))
    with pytest.raises(OutageError):
        list(images.blocks(split, [named]))
    [failure] = [row for block in images.blocks(split, [named]) for row in block.failures]
    assert failure.error == "FileNotFoundError"


def test_a_folder_that_cannot_be_reached_is_refused(tmp_path: Path, reference: Reference, capsys):
    write_inputs(tmp_path, reference)
    FlakyFileSystem.fail(create=99)
    assert main(arguments(tmp_path, "flaky://bucket/out")) == 2
    assert "ConnectionResetError" in capsys.readouterr().err


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    made = run_program(mount, check=False)
    if made.returncode:
        pytest.skip(f"no right to mount a small disk: {made.stderr.strip()}")
    try:
        yield
    finally:
        run_program(["umount", str(folder)])


def test_a_full_disk_fails_the_job_and_room_lets_it_go_on(tmp_path: Path, reference: Reference):
    rows = write_inputs(tmp_path, reference, rows=20_000)
    out = tmp_path / "disk/out"
    command = [*arguments(tmp_path, str(out)), "--direct_num_workers=1"]
    with small_disk(tmp_path / "disk", "300k"):
        done = python("-m", "pipelines", *command, check=False)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert not (out / "_SUCCESS").exists()
        for part in out.glob("part-*"):
            assert (out / f"_mirrorbeam/commits/{part.stem[5:]}.json").exists()
        remount = ["mount", "-o", "remount,size=64m", str(tmp_path / "disk")]
        run_program(remount)
        assert main(command) == 0
        require_exact(out, reference, rows)


def test_a_full_quota_fails_the_job_and_room_lets_it_go_on(tmp_path: Path, reference: Reference):
    import resource

    rows = write_inputs(tmp_path, reference, rows=20_000)
    out = tmp_path / "out"
    command = [*arguments(tmp_path, str(out)), "--direct_num_workers=1"]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    done = python("-m", "pipelines", *command, check=False, preexec_fn=small_files)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert not list(out.glob("part-*"))
    assert main(command) == 0
    require_exact(out, reference, rows)
