"""Files that appear at once, and what may be in their way."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.pending_file import PendingFile, write_at_once


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    target = tmp_path / "part-00001.parquet"
    (target / "within").mkdir(parents=True)
    file = PendingFile(str(tmp_path / "tmp/one"), str(target))
    message = f"nothing at {target}. Received: a folder. Remove or rename it"
    with pytest.raises(IsADirectoryError, match=message):
        file.publish()
    file.abandon()
    with pytest.raises(IsADirectoryError, match=message):
        write_at_once(str(tmp_path / "tmp/two"), str(target), b"data")
    assert not list((tmp_path / "tmp").iterdir())
    target.joinpath("within").rmdir()
    target.rmdir()
    write_at_once(str(tmp_path / "tmp/two"), str(target), b"data")
    assert target.read_bytes() == b"data"
