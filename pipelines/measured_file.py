"""A file that is being written, and knows what it holds."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import google_crc32c


class MeasuredFile(io.RawIOBase):
    """Passes writes on to a file and knows their size and CRC32C, so that none is read again."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._crc = 0
        self._abandoned = False
        self.size_bytes = 0

    @property
    def crc32c(self) -> str:
        """The CRC32C of what was written so far, as eight hexadecimal digits."""
        return f"{self._crc:08x}"

    def writable(self) -> bool:
        """Always: it is made to be written to."""
        return True

    def write(self, data: Any) -> int:
        """Writes all of `data`, a bytes-like object."""
        chunk = data if isinstance(data, bytes) else bytes(data)
        if not self._file.closed:
            self._crc = google_crc32c.extend(self._crc, chunk)
            self.size_bytes += len(chunk)
            self._file.write(chunk)
        elif not self._abandoned:
            raise ValueError("expected writes before the file is closed")
        return len(chunk)

    def close(self) -> None:
        """Closes the file beneath: on an object store, it appears now."""
        if not self._abandoned:
            self._file.close()
            super().close()

    def abandon(self) -> None:
        """Closes the file beneath; a format's writer may still write its end, to nowhere."""
        self._abandoned = True
        self._file.close()
