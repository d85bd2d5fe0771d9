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

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem

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


FILES: dict[str, bytes] = {}
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


class SlowFileSystem(FileSystem):
    """As flat as an object store."""

    @classmethod
    def scheme(cls) -> str:
        """What its paths start with."""
        return "slow"

    def join(self, basepath: str, *paths: str) -> str:
        """A path inside `basepath`."""
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        """Folder and name."""
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        """Refused: there are no folders."""
        raise BeamIOError("No folders here", {path: "flat"})

    def has_dirs(self) -> bool:
        """Never."""
        return False

    def _list(self, dir_or_prefix: str) -> Any:
        found = sorted(path for path in FILES if path.startswith(dir_or_prefix))
        REQUESTS.count("list", len(found) // _PAGE_NAMES + 1)
        for path in found:
            yield FileMetadata(path, len(FILES[path]), 0.0)

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        """A file that appears when it is closed."""
        return _Upload(path)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        """All of a file."""
        REQUESTS.count("read")
        return io.BytesIO(self._content(path))

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        """Copies files."""
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            REQUESTS.count("copy")
            FILES[destination] = self._content(source)

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        """Copies files and deletes the old ones."""
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        REQUESTS.count("look")
        return path in FILES

    def size(self, path: str) -> int:
        """Its bytes."""
        REQUESTS.count("look")
        return len(self._content(path))

    def last_updated(self, path: str) -> float:
        """Unknown."""
        return 0.0

    def checksum(self, path: str) -> str:
        """Stands for its content."""
        return str(len(self._content(path)))

    def metadata(self, path: str) -> FileMetadata:
        """Its size."""
        return FileMetadata(path, self.size(path), 0.0)

    def delete(self, paths: list[str]) -> None:
        """Deletes files that are there."""
        for path in paths:
            REQUESTS.count("delete")
            self._content(path)
            del FILES[path]

    def _content(self, path: str) -> bytes:
        if path not in FILES:
            raise BeamIOError("No such file", {path: "missing"})
        return FILES[path]
