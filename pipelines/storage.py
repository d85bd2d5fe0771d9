"""Files on any filesystem that Beam knows; local ones are reached without importing Beam.

What a remote filesystem fails to do is tried again for some seconds, but for writes to an
open file: what was written before is gone then.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar, cast

import google_crc32c

from pipelines.object_stores import copy_object, create_object, is_object_store, put_object
from pipelines.retrying import retried
from pipelines.steady_file import steady_file

_SCHEME = re.compile(r"[a-zA-Z][-a-zA-Z0-9+.]*://")
_CHUNK_BYTES = 4 * 2**20
_DELETING_THREADS = 32
_FOLDER_TRIES = 10

_Used = TypeVar("_Used")


def is_local(path: str) -> bool:
    """Whether `path` is on this machine's own filesystem: it has no `scheme://`."""
    return _SCHEME.match(path) is None


def readers_of(folder: str) -> int:
    """How many files of a folder to read at once: object stores answer late, but many at once."""
    return 8 if is_local(folder) else 64


def join(folder: str, *names: str) -> str:
    """The path of something inside `folder`."""
    return os.path.join(folder, *names) if is_local(folder) else "/".join(
        [folder.rstrip("/"), *names])


def create(path: str) -> BinaryIO:
    """Opens a new file for writing, and makes the local folders that it needs."""
    if is_local(path):
        return _with_folder(path, lambda: open(path, "wb"))
    if is_object_store(path):
        return create_object(path)
    from apache_beam.io.filesystem import CompressionTypes

    return cast(BinaryIO, retried(
        lambda: _filesystem(path).create(path, compression_type=CompressionTypes.UNCOMPRESSED),
        f"creating {path}"))


def _with_folder(path: str, use: Callable[[], _Used]) -> _Used:
    """What `use` gives, with the folder of a local file made before.

    Another command may remove that folder at any time, since nothing is in it.
    """
    folder = os.path.dirname(path) or "."
    for _ in range(_FOLDER_TRIES):
        try:
            os.makedirs(folder, exist_ok=True)
        except FileExistsError:
            # It was there, and is not any more; or a file is in its place.
            continue
        with contextlib.suppress(FileNotFoundError):
            return use()
    os.makedirs(folder, exist_ok=True)
    return use()


def open_to_read(path: str) -> BinaryIO:
    """Opens a file as the bytes that it holds, whatever its suffix.

    Raises:
      OutageError: here and while reading, where a remote file is out of reach for longer than
        it is tried again. That is no OSError: the file is not damaged.
    """
    if is_local(path):
        return open(path, "rb")
    return steady_file(lambda: _open_remote(path), path)


def _open_remote(path: str) -> BinaryIO:
    from apache_beam.io.filesystem import CompressionTypes

    filesystem = _filesystem(path)
    try:
        file = filesystem.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except Exception as error:
        # Not all filesystems say by their error whether it is gone, or out of reach.
        if not filesystem.exists(path):
            raise FileNotFoundError(f"there is no file {path}") from error
        raise
    return cast(BinaryIO, file)


def size_bytes(path: str) -> int | None:
    """The file's size; None where there is no such file."""
    if is_local(path):
        return os.path.getsize(path) if os.path.isfile(path) else None
    return retried(lambda: _remote_size_bytes(path), f"looking for {path}")


def _remote_size_bytes(path: str) -> int | None:
    filesystem = _filesystem(path)
    return int(filesystem.size(path)) if filesystem.exists(path) else None


def replace(source: str, target: str) -> None:
    """Moves a file to a place where another may lie: atomic on local disks.

    Elsewhere the old file goes first, so that readers never see a mixture; an object
    store shows the new one when its copy is complete.
    """
    if is_local(target):
        _with_folder(target, lambda: os.replace(source, target))
        return
    filesystem = _filesystem(target)
    tries = 0

    def move() -> None:
        nonlocal tries
        tries += 1
        if filesystem.exists(target):
            if not filesystem.exists(source):
                if tries > 1:
                    # An earlier try moved it, and only its answer was lost.
                    return
                # What lies at the target counts: another attempt's, whose finish swept this one.
                raise FileNotFoundError(f"there is no file {source}")
            filesystem.delete([target])
        filesystem.rename([source], [target])

    retried(move, f"moving {source} to {target}")


def link(source: str, target: str) -> None:
    """Gives a local file a second name.

    Raises:
      FileExistsError: another file has it.
      OSError: the disk has no hard links.
    """
    _with_folder(target, lambda: os.link(source, target))


def copy(source: str, target: str) -> None:
    """Copies an object, in the place of one that is there: readers see the one or the other.

    Raises:
      FileNotFoundError: the source is gone.
    """
    retried(lambda: copy_object(source, target), f"copying {source} to {target}")


def write_object(path: str, data: bytes) -> None:
    """Writes a small object, which appears whole or not at all; failed uploads are repeated."""
    retried(lambda: put_object(path, data), f"writing {path}")


def delete(paths: Iterable[str]) -> None:
    """Deletes files, remote ones in threads; one that is gone already is no error."""
    remote = []
    for path in paths:
        if is_local(path):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        else:
            remote.append(path)
    if len(remote) == 1:
        _delete_surely(remote[0])
    elif remote:
        with ThreadPoolExecutor(_DELETING_THREADS) as threads:
            for _ in threads.map(_delete_surely, remote):
                pass


def _delete_surely(path: str) -> None:
    retried(lambda: _delete_remote(path), f"deleting {path}")


def _delete_remote(path: str) -> None:
    filesystem = _filesystem(path)
    # Object stores take the deletion of what is not there for done.
    if is_object_store(path) or filesystem.exists(path):
        try:
            filesystem.delete([path])
        except Exception:
            # Beam's deletion looks before: another may delete it in between.
            if filesystem.exists(path):
                raise


def list_files(folder: str, limit: int | None = None) -> Iterator[str]:
    """Paths of all files under `folder`, in its subfolders too; `limit` spares remote listings."""
    if is_local(folder):
        for parent, _, names in os.walk(folder):
            for name in names:
                yield os.path.join(parent, name)
        return
    for metadata in _listed(join(folder, "**"), limit):
        yield metadata.path


def sizes_in(folder: str, start: str = "") -> dict[str, int]:
    """Sizes by path of the files directly in a folder, from few requests; {} without a folder.

    Args:
      folder: where.
      start: of the names that are wanted.
    """
    if is_local(folder):
        return {path: status.st_size for path, status in _local_files(folder, start)}
    return {
        metadata.path: metadata.size_in_bytes for metadata in _listed(join(folder, f"{start}*"))}


def times_in(folder: str, start: str = "") -> dict[str, float]:
    """When the files directly in a folder were last written, in seconds since 1970, by path.

    Those of which the filesystem does not tell are left out.

    Args:
      folder: where.
      start: of the names that are wanted.
    """
    if is_local(folder):
        return {path: status.st_mtime for path, status in _local_files(folder, start)}
    return {
        metadata.path: metadata.last_updated_in_seconds
        for metadata in _listed(join(folder, f"{start}*"))
        if metadata.last_updated_in_seconds}


def _local_files(folder: str, start: str) -> Iterator[tuple[str, os.stat_result]]:
    """Files directly in a folder; others may be at work there, so that any may go meanwhile."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.name.startswith(start) and entry.is_file():
                    yield join(folder, entry.name), entry.stat()


def _listed(pattern: str, limit: int | None = None) -> list[Any]:
    (match,) = retried(
        lambda: _filesystem(pattern).match([pattern], [limit]), f"listing {pattern}")
    return list(match.metadata_list)


def read_bytes(path: str) -> bytes | None:
    """All that a file holds; None where there is no such file."""
    if is_local(path):
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
    there = retried(lambda: _filesystem(path).exists(path), f"looking for {path}")
    return read_existing(path) if there else None


def read_existing(path: str) -> bytes:
    """All that a file holds that is known to be there, in one request less."""
    if is_local(path):
        with open(path, "rb") as file:
            return file.read()
    return retried(lambda: _read_remote(path), f"reading {path}")


def _read_remote(path: str) -> bytes:
    with _open_remote(path) as file:
        return file.read()


def crc32c_of(path: str) -> str:
    """The CRC32C of a file's bytes, as eight hexadecimal digits."""
    crc = 0
    with open_to_read(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = google_crc32c.extend(crc, chunk)
    return f"{crc:08x}"


def _filesystem(path: str) -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems.get_filesystem(path)
