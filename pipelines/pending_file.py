"""A file that appears at once or not at all."""

from __future__ import annotations

from typing import Any

from pipelines import storage


class PendingFile:
    """Written under a temporary name and moved to its own when complete.

    Attributes:
      stream: where to write; it does not seek.
    """

    def __init__(self, temporary: str, target: str) -> None:
        """Creates the temporary file; nothing lies at `target` yet."""
        self._temporary = temporary
        self._target = target
        self.stream = storage.MeasuredFile(storage.create(temporary))

    def publish(self) -> dict[str, Any]:
        """Moves the file to its own name; returns its size in bytes and its CRC32C."""
        self.stream.close()
        storage.replace(self._temporary, self._target)
        return {"bytes": self.stream.size_bytes, "crc32c": self.stream.crc32c}

    def abandon(self) -> None:
        """Deletes the temporary file, if there still is one."""
        self.stream.abandon()
        storage.delete([self._temporary])


def write_at_once(temporary: str, target: str, data: bytes) -> None:
    """Writes a small file that readers never see in part."""
    file = PendingFile(temporary, target)
    try:
        file.stream.write(data)
        file.publish()
    except BaseException:
        file.abandon()
        raise
