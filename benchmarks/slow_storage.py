"""A Beam filesystem that answers as late as an object store, and counts what it is asked.

Files lie in this process's memory, under `slow://`. A call is one request, a listing one a
thousand names, a move two: what the clients of object stores send at least.
"""

from __future__ import annotations

import collections
import io
import threading
import time
from typing import Any

from apache_beam.io.filesystem import FileMetadata

from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem

_PAGE_NAMES = 1000


class Requests:
    """How many requests of each kind there were, and how long each one waits."""

    def __init__(self) -> None:
        self.wait_seconds = 0.0
        self.counts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def count(self, kind: str, times: int = 1) -> None:
        """Counts, and waits as long as the answers take."""
        with self._lock:
            self.counts[kind] += times
        time.sleep(self.wait_seconds * times)


REQUESTS = Requests()


class _Upload(io.BytesIO):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def close(self) -> None:
        if not self.closed:
            REQUESTS.count("write")
            FILES[self._path] = self.getvalue()
        super().close()


class SlowFileSystem(MemoryFileSystem):
    """The tests' filesystem in memory, with every request counted."""

    @classmethod
    def scheme(cls) -> str:
        """What its paths start with."""
        return "slow"

    def _list(self, dir_or_prefix: str) -> Any:
        found = list(super()._list(dir_or_prefix))
        REQUESTS.count("list", len(found) // _PAGE_NAMES + 1)
        return iter(found)

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        """A file that appears when it is closed."""
        return _Upload(path)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        """All of a file."""
        REQUESTS.count("read")
        return super().open(path, mime_type, compression_type)

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        """Copies files."""
        REQUESTS.count("copy", len(source_file_names))
        super().copy(source_file_names, destination_file_names)

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        """Copies files and deletes the old ones."""
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        REQUESTS.count("look")
        return super().exists(path)

    def size(self, path: str) -> int:
        """Its bytes."""
        REQUESTS.count("look")
        return super().size(path)

    def metadata(self, path: str) -> FileMetadata:
        """Its bytes and when it was written."""
        REQUESTS.count("look")
        return super().metadata(path)

    def delete(self, paths: list[str]) -> None:
        """Deletes files that are there."""
        REQUESTS.count("delete", len(paths))
        super().delete(paths)
