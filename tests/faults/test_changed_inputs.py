"""Input files that are written again, or go, while a job reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.sources.parquet import ParquetSource
from pipelines.splits import Split
from tests.faults.kill_points import Job
from transforms.block import Block

pytestmark = [pytest.mark.usefixtures("logical_cpus"), pytest.mark.slow]

CHANGED = 2


def write_over(path: Path) -> None:
    """As long as before, in the same file."""
    with path.open("r+b") as file:
        file.write(file.read())
    later(path)


def replace(path: Path) -> None:
    """By another file of the same name and length."""
    other = path.with_suffix(".tmp")
    other.write_bytes(path.read_bytes())
    later(other)
    os.replace(other, path)


def lengthen(path: Path) -> None:
    """By bytes behind its end, and as old as before."""
    status = path.stat()
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def later(path: Path) -> None:
    """Times of files are told in steps of some milliseconds."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**7))


def while_read(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], then: BaseException | None
) -> None:
    """Changes the file of one split between its first block and the rest."""
    read = ParquetSource.read

    def read_and_change(self: ParquetSource, split: Split) -> Iterator[Block]:
        for number, block in enumerate(read(self, split)):
            yield block
            if split.index == CHANGED and number == 0:
                change(Path(split.files[0]))
                if then is not None:
                    raise then

    monkeypatch.setattr(ParquetSource, "read", read_and_change)


@pytest.mark.parametrize("then", [None, ValueError("no footer here")], ids=["", "error"])
@pytest.mark.parametrize("change", [write_over, replace, lengthen, Path.unlink])
def test_a_changed_input_stops_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, capsys,
    change: Callable[[Path], None], then: BaseException | None,
) -> None:
    job = Job(tmp_path)
    path = tmp_path / f"in/{CHANGED:03d}.parquet"
    with monkeypatch.context() as patch:
        while_read(patch, change, then)
        assert main(job.arguments()) == 1
    is_gone = change is Path.unlink
    if then is None or not is_gone:
        said = f"InputChangedError: expected {path} as it was when the job was planned"
        assert said in caplog.text
    else:
        assert "no footer here" in caplog.text
    assert f"{CHANGED:05d}" not in job.committed()
    assert not list(job.out.rglob(f"part-{CHANGED:05d}*"))
    assert not (job.out / "_SUCCESS").exists()
    assert main(job.arguments()) == 2
    assert f"{'vanished' if is_gone else 'changed'}: {path}" in capsys.readouterr().err


def test_a_changed_input_is_scored_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path)
    with monkeypatch.context() as patch:
        while_read(patch, replace, None)
        assert main(job.arguments()) == 1
    assert main(job.arguments("--overwrite")) == 0
    assert job.wrong_rows() == (0, 0)


def test_a_file_that_changed_before_it_is_read_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    job = Job(tmp_path)
    read = ParquetSource.read

    def change_and_read(self: ParquetSource, split: Split) -> Iterator[Block]:
        if split.index == CHANGED:
            replace(Path(split.files[0]))
        return read(self, split)

    monkeypatch.setattr(ParquetSource, "read", change_and_read)
    assert main(job.arguments()) == 1
    assert "InputChangedError" in caplog.text
    assert f"{CHANGED:05d}" not in job.committed()
