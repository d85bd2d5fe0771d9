"""The storage layer on object stores: whole objects, empty ones, none at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apache_beam.io.filesystems import FileSystems

from pipelines import storage
from pipelines.pending_file import PendingFile, write_at_once
from tests.object_stores.emulators import STORES, Store


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with STORES[request.param]() as store:
        yield store


@pytest.mark.parametrize("data", [b"", b"some", bytes(range(256)) * 50_000], ids=len)
def test_an_object_appears_when_it_is_closed(store: Store, data: bytes) -> None:
    path = store.path(f"closed/{len(data)}")
    file = storage.create(path)
    file.write(data)
    assert storage.size_bytes(path) is None
    file.close()
    assert storage.read_bytes(path) == data
    assert storage.sizes_in(store.path("closed"), f"{len(data)}") == {path: len(data)}


def test_small_files_are_written_in_place_of_older_ones(store: Store) -> None:
    path = store.path("small/plan.json")
    for data in (b"older and longer", b"new", b""):
        write_at_once(store.path("small/tmp"), path, data)
        assert storage.read_bytes(path) == data
    assert list(storage.list_files(store.path("small"))) == [path]


def test_a_part_is_copied_and_its_temporary_file_stays_until_it_is_settled(store: Store) -> None:
    temporary, target = store.path("part/tmp/t"), store.path("part/p")
    file = PendingFile(temporary, target)
    file.stream.write(b"rows")
    file.close()
    assert storage.read_bytes(target) is None
    promise = file.publish()
    assert promise == {"bytes": 4, "crc32c": storage.crc32c_of(target)}
    file.abandon()
    assert storage.size_bytes(temporary) == 4
    file.settle()
    assert storage.size_bytes(temporary) is None
    assert storage.read_bytes(target) == b"rows"


def test_an_abandoned_file_leaves_nothing(store: Store) -> None:
    file = PendingFile(store.path("abandoned/t"), store.path("abandoned/p"))
    file.stream.write(b"half")
    file.abandon()
    file.abandon()
    assert list(storage.list_files(store.path("abandoned"))) == []


def test_deleting_many_and_what_is_not_there(store: Store) -> None:
    paths = [store.path(f"many/{number}") for number in range(20)]
    for path in paths[:10]:
        storage.write_object(path, b"x")
    storage.delete(paths)
    storage.delete([store.path("many/none")])
    assert list(storage.list_files(store.path("many"))) == []
    assert storage.read_bytes(paths[0]) is None


def test_an_object_that_another_deletes_at_the_same_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.path("twice/deleted")
    storage.write_object(path, b"x")
    filesystem = type(FileSystems.get_filesystem(path))
    exists = filesystem.exists

    def seen_and_deleted(self: Any, looked_at: str) -> Any:
        is_there = exists(self, looked_at)
        monkeypatch.undo()
        storage.delete([path])
        return is_there

    monkeypatch.setattr(filesystem, "exists", seen_and_deleted)
    storage.delete([path])
    assert storage.size_bytes(path) is None


def test_a_copy_of_an_object_that_is_gone_is_said_so(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        storage.copy(store.path("gone/source"), store.path("gone/target"))


def test_a_bucket_that_is_not_there_is_an_error_of_the_system(store: Store) -> None:
    scheme = store.root.partition("://")[0]
    with pytest.raises(OSError, match="."):
        storage.write_object(f"{scheme}://no-such-bucket/x", b"x")
