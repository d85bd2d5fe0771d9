"""A remote file that is read on where a connection broke off."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from pipelines.retrying import outages_named, retried

_BUFFER_BYTES = 2**18
_READ_BYTES = 4 * 2**20


def steady_file(open_file: Callable[[], BinaryIO], path: str) -> BinaryIO:
    """Opens a file to read; where reading fails for a while it is opened again, and read on.

    Args:
      open_file: opens it at its start; may be called again.
      path: for messages.

    Raises:
      OutageError: it fails for longer than it is tried again, here or when it is read.
      OSError: of a kind that does not pass, such as a file that is not there.
    """
    return cast(BinaryIO, io.BufferedReader(_SteadyFile(open_file, path), _BUFFER_BYTES))


class _SteadyFile(io.RawIOBase):
    def __init__(self, open_file: Callable[[], BinaryIO], path: str) -> None:
        super().__init__()
        self._open = open_file
        self._path = path
        self._file: BinaryIO | None = None
        self._position = 0
        self._size: int | None = None
        with outages_named():
            self._file = retried(open_file, f"opening {path}")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._end()
        self._position = max(0, offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._tried(lambda file: file.read(len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        chunks = []
        while chunk := self.read(_READ_BYTES):
            chunks.append(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        if not self.closed:
            self._drop()
            super().close()

    def _end(self) -> int:
        if self._size is None:
            self._size = self._tried(lambda file: file.seek(0, os.SEEK_END))
        return self._size

    def _tried(self, call: Callable[[BinaryIO], Any]) -> Any:
        def at_position() -> Any:
            file = self._file = self._file or self._open()
            try:
                if file.tell() != self._position:
                    file.seek(self._position)
                return call(file)
            except Exception:
                # What a broken connection has left of it is not read on.
                self._drop()
                raise

        with outages_named():
            return retried(at_position, f"reading {self._path}")

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # Nothing was written to it: what closing it says changes nothing.
            with contextlib.suppress(Exception):
                file.close()
