from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.filesystem import ShelfFileSystem
from transforms.engine.model import ModelError
from transforms.model_files import fetch_model


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "shelf"
    monkeypatch.setattr(ShelfFileSystem, "root", root)
    monkeypatch.setenv("MIRRORBEAM_CACHE", str(tmp_path / "cache"))
    (root / "models" / "saved" / "variables").mkdir(parents=True)
    (root / "models" / "saved" / "saved_model.pb").write_bytes(b"graph")
    (root / "models" / "saved" / "variables" / "variables.index").write_bytes(b"index")
    (root / "models" / "saved-2").mkdir()
    (root / "models" / "saved-2" / "saved_model.pb").write_bytes(b"other")
    (root / "models" / "net.weights.h5").write_bytes(b"weights")
    return root


def content(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file()
    }


def test_a_local_path_is_used_where_it_is(tmp_path: Path):
    assert fetch_model(str(tmp_path / "net.keras")) == str(tmp_path / "net.keras")


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_is_copied_without_its_neighbours(shelf: Path, end: str):
    assert content(fetch_model(f"shelf://models/saved{end}")) == {
        "saved_model.pb": b"graph",
        "variables/variables.index": b"index",
    }


def test_a_file_keeps_its_name(shelf: Path):
    path = Path(fetch_model("shelf://models/net.weights.h5"))
    assert path.name == "net.weights.h5"
    assert path.read_bytes() == b"weights"


def test_it_is_copied_once_and_again_when_it_changed(shelf: Path):
    first = fetch_model("shelf://models/net.weights.h5")
    inode = Path(first).stat().st_ino
    assert fetch_model("shelf://models/net.weights.h5") == first
    assert Path(first).stat().st_ino == inode
    (shelf / "models" / "net.weights.h5").write_bytes(b"retrained")
    changed = fetch_model("shelf://models/net.weights.h5")
    assert Path(changed).read_bytes() == b"retrained"
    assert Path(first).read_bytes() == b"weights"


def test_many_threads_end_with_one_complete_copy(shelf: Path, tmp_path: Path):
    paths: list[str] = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch_model("shelf://models/saved")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 8
    assert len(set(paths)) == 1
    assert [entry.name for entry in (tmp_path / "cache" / "models").iterdir()] == [
        Path(paths[0]).parent.name
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("shelf://models/absent", "Received: shelf://models/absent, where there is no file"),
        ("nosuchscheme://models/net.keras", "Received: nosuchscheme://models/net.keras ("),
    ],
)
def test_what_is_not_there_is_refused(shelf: Path, path: str, expected: str):
    with pytest.raises(ModelError) as caught:
        fetch_model(path)
    assert expected in str(caught.value)
