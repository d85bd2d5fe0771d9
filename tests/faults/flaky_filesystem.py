"""A Beam filesystem whose operations fail as often as a test says, over a local folder."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, ClassVar, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata

from tests.filesystem import ShelfFileSystem

PREFIX = "flaky://"


class FlakyFileSystem(ShelfFileSystem):
    """`shelf://` by another name; each operation on each file first fails some times.

    Attributes:
      failures: by operation, how often it fails on a path before it works; `write` and `read`,
        in the middle of a file, are counted for all paths together.
      only: paths without this text never fail.
      failed: how often each operation failed.
    """

    failures: ClassVar[dict[str, int]] = {}
    only: ClassVar[str] = ""
    failed: ClassVar[Counter[str]] = Counter()
    _seen: ClassVar[Counter[tuple[str, str]]] = Counter()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def fail(cls, only: str = "", **failures: int) -> None:
        """From now on, operations fail so often on each path that holds `only`."""
        cls.failures, cls.only = failures, only
        cls.failed.clear()
        cls._seen.clear()

    @classmethod
    def scheme(cls) -> str:
        return "flaky"

    def create(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> BinaryIO:
        self._trip("create", path, ConnectionResetError("connection reset"))
        file = super().create(_shelf(path), mime_type, compression_type)
        return cast(BinaryIO, _BreakingFile(file, lambda: self._trip_midway("write", path)))

    def open(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> BinaryIO:
        self._trip("open", path, TimeoutError("timed out"))
        file = super().open(_shelf(path), mime_type, compression_type)
        return cast(BinaryIO, _BreakingFile(file, lambda: self._trip_midway("read", path)))

    def rename(
        self, source_file_names: Sequence[str], destination_file_names: Sequence[str]
    ) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            error = BeamIOError("Rename failed", {(source, target): OSError("503")})
            self._trip("rename", target, error)
            super().rename([_shelf(source)], [_shelf(target)])
            # Done, but the answer does not arrive.
            self._trip("answer", target, error)

    def exists(self, path: str) -> bool:
        self._trip("exists", path, BeamIOError("Exists failed", {path: "503"}))
        return super().exists(_shelf(path))

    def size(self, path: str) -> int:
        return super().size(_shelf(path))

    def last_updated(self, path: str) -> float:
        return super().last_updated(_shelf(path))

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._trip("delete", path, BeamIOError("Delete failed", {path: OSError("503")}))
            super().delete([_shelf(path)])

    def match(self, patterns: Sequence[str], limits: Any = None) -> Any:
        for pattern in patterns:
            self._trip("match", pattern, BeamIOError("Match failed", {pattern: OSError("503")}))
        return super().match(patterns, limits)

    def _list(self, dir_or_prefix: str) -> Any:
        for metadata in super()._list(_shelf(dir_or_prefix)):
            path = PREFIX + metadata.path.partition("://")[2]
            yield FileMetadata(path, metadata.size_in_bytes, metadata.last_updated_in_seconds)

    def metadata(self, path: str) -> FileMetadata:
        return super().metadata(_shelf(path))

    def _trip_midway(self, operation: str, path: str) -> None:
        if self.only in path:
            self._trip(operation, self.only, ConnectionAbortedError(f"{operation} broke off"))

    def _trip(self, operation: str, path: str, error: Exception) -> None:
        with self._lock:
            key = (operation, path)
            if self.only not in path or self._seen[key] >= self.failures.get(operation, 0):
                return
            self._seen[key] += 1
            self.failed[operation] += 1
        raise error


class _BreakingFile:
    """A file that may break after each thousand bytes, and is of no use then."""

    def __init__(self, file: Any, trip: Callable[[], None]) -> None:
        self._file = file
        self._trip = trip
        self._moved = 0
        self._is_broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _BreakingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> int:
        self._move(len(data))
        return int(self._file.write(data))

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._move(len(data))
        return bytes(data)

    def _move(self, count: int) -> None:
        if self._is_broken:
            raise ValueError("used after it broke")
        self._moved += count
        if self._moved > 1000:
            self._moved = 0
            self._is_broken = True
            self._trip()
            self._is_broken = False


def _shelf(path: str) -> str:
    return path.replace(PREFIX, "shelf://", 1)


