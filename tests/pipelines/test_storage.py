"""The same operations give the same outcome on a local disk and on a Beam filesystem."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from pipelines import storage
from pipelines.pending_file import PendingFile, write_at_once
from tests.pipelines.memory_filesystem import MemoryFileSystem

Listing = Callable[[str], dict[str, Any]]

KINDS = ("local", MemoryFileSystem.scheme())


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"ram://{uuid.uuid4().hex}"


def put(path: str, data: bytes) -> str:
    with storage.create(path) as file:
        file.write(data)
    return path


def test_what_is_written_is_read_sized_and_listed(folder: str) -> None:
    path = put(storage.join(folder, "a", "b.gz"), b"plain bytes")
    assert storage.read_bytes(path) == b"plain bytes"
    assert storage.open_to_read(path).read() == b"plain bytes"
    assert storage.size_bytes(path) == 11
    assert storage.crc32c_of(path) == f"{google_crc32c.value(b'plain bytes'):08x}"
    other = put(storage.join(folder, "c"), b"")
    assert sorted(storage.list_files(folder)) == sorted([path, other])
    assert len(list(storage.list_files(folder, limit=1))) >= 1


def test_what_is_not_there_is_none_or_nothing(folder: str) -> None:
    path = storage.join(folder, "none")
    assert storage.read_bytes(path) is None
    assert storage.size_bytes(path) is None
    assert list(storage.list_files(path)) == []
    storage.delete([path])


def test_replacing_by_what_is_gone_leaves_what_is_there(folder: str) -> None:
    there = put(storage.join(folder, "there"), b"there")
    with pytest.raises(FileNotFoundError):
        storage.replace(storage.join(folder, "gone"), there)
    assert storage.read_bytes(there) == b"there"


def test_replacing_and_deleting(folder: str) -> None:
    new, old = put(storage.join(folder, "new"), b"new"), put(storage.join(folder, "old"), b"old")
    storage.replace(new, old)
    assert storage.read_bytes(old) == b"new"
    assert storage.read_bytes(new) is None
    storage.delete([old, new])
    assert list(storage.list_files(folder)) == []


def test_a_pending_file_appears_whole_when_published(folder: str) -> None:
    target = storage.join(folder, "deep", "target")
    file = PendingFile(storage.join(folder, "tmp", "t"), target)
    file.stream.write(b"one ")
    file.stream.write(memoryview(b"two"))
    assert storage.size_bytes(target) is None
    assert file.publish() == {"bytes": 7, "crc32c": storage.crc32c_of(target)}
    assert storage.read_bytes(target) == b"one two"
    assert list(storage.list_files(folder)) == [target]


def test_an_abandoned_file_leaves_nothing_though_its_writer_goes_on(folder: str) -> None:
    file = PendingFile(storage.join(folder, "tmp", "t"), storage.join(folder, "target"))
    file.stream.write(b"part")
    file.abandon()
    file.stream.write(b"a format's footer")
    file.stream.close()
    file.abandon()
    assert list(storage.list_files(folder)) == []


def test_writing_at_once_replaces(folder: str) -> None:
    target = put(storage.join(folder, "target"), b"old and longer")
    write_at_once(storage.join(folder, "t"), target, b"new")
    assert storage.read_bytes(target) == b"new"
    assert list(storage.list_files(folder)) == [target]


def test_a_closed_file_takes_no_more(folder: str) -> None:
    file = PendingFile(storage.join(folder, "t"), storage.join(folder, "target"))
    file.publish()
    with pytest.raises(ValueError, match="before the file is closed"):
        file.stream.write(b"late")


@pytest.mark.parametrize(("path", "local"), [
    ("/a/b", True), ("a:b/c", True), ("gs://bucket/a", False), ("hdfs://a", False), ("", True)])
def test_a_scheme_tells_remote_paths(path: str, local: bool) -> None:
    assert storage.is_local(path) is local


def test_sizes_are_those_directly_in_a_folder(folder: str) -> None:
    part = put(storage.join(folder, "part-0"), b"four")
    put(storage.join(folder, "other"), b"other")
    put(storage.join(folder, "below", "part-1"), b"deep")
    assert storage.sizes_in(folder, "part-") == {part: 4}
    assert set(storage.sizes_in(folder)) == {part, storage.join(folder, "other")}
    assert storage.sizes_in(storage.join(folder, "none")) == {}


def test_many_files_are_deleted_at_once(folder: str) -> None:
    paths = [put(storage.join(folder, f"{index}"), b"") for index in range(100)]
    storage.delete([*paths, storage.join(folder, "none")])
    assert list(storage.list_files(folder)) == []


@pytest.mark.parametrize("listed", [storage.sizes_in, storage.times_in])
def test_files_that_go_while_their_folder_is_listed(tmp_path: Path, listed: Listing) -> None:
    going = tmp_path / "going"
    stay = put(str(going / "stays"), b"1")
    names = [going / f"goes-{number}" for number in range(50)]
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for name in names:
                name.touch()
            for name in names:
                name.unlink()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        # One of 150 listings met a file on its way out.
        for _ in range(5_000):
            assert stay in listed(str(going))
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("listed", [storage.sizes_in, storage.times_in])
def test_folders_that_are_none_have_no_files(tmp_path: Path, listed: Listing) -> None:
    assert listed(str(tmp_path / "none")) == {}
    assert listed(put(str(tmp_path / "file"), b"")) == {}


def test_a_folder_that_others_remove_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    goes_on = (
        "import contextlib, os, sys, time\n"
        "while True:\n"
        "    time.sleep(1e-4)\n"
        "    with contextlib.suppress(OSError):\n"
        "        os.rmdir(sys.argv[1])\n")
    with subprocess.Popen([sys.executable, "-c", goes_on, str(folder)]) as other:
        try:
            # One of some hundred files met a folder on its way out.
            for number in range(3_000):
                path = put(str(folder / "new"), b"1")
                storage.replace(path, str(tmp_path / "kept"))
                storage.replace(str(tmp_path / "kept"), path)
                storage.link(path, str(tmp_path / f"{number}"))
                os.unlink(path)
                storage.link(str(tmp_path / f"{number}"), path)
                os.unlink(path)
        finally:
            other.kill()
    assert len(list(tmp_path.glob("[0-9]*"))) == 3_000
