"""A Beam filesystem in this process's memory, under `ram://`: as flat as an object store."""

from __future__ import annotations

import io
import time
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

FILES: dict[str, bytes] = {}
# By path: what was there last, and when that was first seen. Tests put files there by hand.
_SEEN: dict[str, tuple[bytes, float]] = {}


def _written_at(path: str) -> float:
    """Seconds since 1970 when a file became what it is."""
    content, seconds = _SEEN.get(path, (None, 0.0))
    if content is not FILES[path]:
        seconds = time.time()
        _SEEN[path] = (FILES[path], seconds)
    return seconds


class _Upload(io.BytesIO):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def close(self) -> None:
        if not self.closed:
            FILES[self._path] = self.getvalue()
        super().close()


class MemoryFileSystem(FileSystem):
    """Files appear when closed; renaming onto a file is an error, as on HDFS."""

    @classmethod
    def scheme(cls) -> str:
        return "ram"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        raise BeamIOError("No folders here", {path: "flat"})

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Any:
        for path in sorted(FILES):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(FILES[path]), _written_at(path))

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return _Upload(path)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return io.BytesIO(self._content(path))

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            FILES[destination] = self._content(source)

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            if destination in FILES:
                raise BeamIOError("Rename operation failed", {destination: "exists"})
            FILES[destination] = FILES.pop(source)

    def exists(self, path: str) -> bool:
        return path in FILES

    def size(self, path: str) -> int:
        return len(self._content(path))

    def last_updated(self, path: str) -> float:
        self._content(path)
        return _written_at(path)

    def checksum(self, path: str) -> str:
        return str(self.size(path))

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path), _written_at(path))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            self._content(path)
            del FILES[path]

    def _content(self, path: str) -> bytes:
        if path not in FILES:
            raise BeamIOError("No such file", {path: "missing"})
        return FILES[path]
