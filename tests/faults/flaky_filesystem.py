"""A Beam filesystem whose operations fail as often as a test says, over a local folder."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, ClassVar

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata

from tests.filesystem import ShelfFileSystem

PREFIX = "flaky://"


class FlakyFileSystem(ShelfFileSystem):
    """`shelf://` by another name; each operation on each file first fails some times.

    Attributes:
      failures: by operation, how often it fails on a path before it works.
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
        return super().create(_shelf(path), mime_type, compression_type)

    def open(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> BinaryIO:
        self._trip("open", path, TimeoutError("timed out"))
        return super().open(_shelf(path), mime_type, compression_type)

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

    def _trip(self, operation: str, path: str, error: Exception) -> None:
        with self._lock:
            key = (operation, path)
            if self.only not in path or self._seen[key] >= self.failures.get(operation, 0):
                return
            self._seen[key] += 1
            self.failed[operation] += 1
        raise error


def _shelf(path: str) -> str:
    return path.replace(PREFIX, "shelf://", 1)


