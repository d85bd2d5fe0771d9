"""A file that appears at once or not at all."""

from __future__ import annotations

import logging
import os
from typing import Any

from pipelines import storage
from pipelines.measured_file import MeasuredFile
from pipelines.object_stores import is_object_store

_LOG = logging.getLogger(__name__)


class PendingFile:
    """Written under a temporary name and moved to its own when complete.

    An object store has no move. There the file is copied, and the temporary one stays until
    `settle`: it is the sign by which attempts at the same target see each other. Writing to the
    target itself would not do: an upload that is given up midway appears as far as it came.

    Attributes:
      stream: where to write; it does not seek.
    """

    def __init__(self, temporary: str, target: str) -> None:
        """Creates the temporary file; nothing lies at `target` yet."""
        self._temporary = temporary
        self._target = target
        self._is_published = False
        self.stream = MeasuredFile(storage.create(temporary))

    def close(self) -> None:
        """Completes the temporary file; may be called again."""
        self.stream.close()

    def measures(self) -> dict[str, Any]:
        """Size in bytes and CRC32C of the complete file."""
        self.close()
        return {"bytes": self.stream.size_bytes, "crc32c": self.stream.crc32c}

    def publish(self) -> dict[str, Any]:
        """Makes the file appear under its own name; returns its `measures`.

        Raises:
          FileNotFoundError: somebody deleted the temporary file.
          IsADirectoryError: a local folder has the name.
        """
        self.close()
        # Also if it fails: the copy may have been made.
        self._is_published = True
        if is_object_store(self._target):
            storage.copy(self._temporary, self._target)
        else:
            try:
                storage.replace(self._temporary, self._target)
            except IsADirectoryError as error:
                raise IsADirectoryError(
                    f"expected a file or nothing at {self._target}. Received: a folder. Remove "
                    "or rename it, and give the same command again."
                ) from error
        return self.measures()

    def settle(self) -> None:
        """Deletes what an object store still has of the temporary file, after `publish`."""
        if is_object_store(self._temporary):
            storage.delete([self._temporary])

    def abandon(self) -> None:
        """Deletes the temporary file, unless the target may be a copy of it."""
        self.stream.abandon()
        if not (self._is_published and is_object_store(self._target)):
            storage.delete([self._temporary])


def write_once(temporary: str, target: str, data: bytes) -> bool:
    """Writes a small file like `write_at_once`, unless one is there: then it gives False.

    Of two at once, on a local disk that has hard links, one gets False. Elsewhere it looks first.
    """
    if not storage.is_local(target):
        if storage.size_bytes(target) is not None:
            return False
        write_at_once(temporary, target, data)
        return True
    file = PendingFile(temporary, target)
    try:
        file.stream.write(data)
        file.close()
        try:
            storage.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            _LOG.debug("no hard links on the disk of %s: %s", target, error)
            if os.path.exists(target):
                return False
            file.publish()
        return True
    finally:
        file.abandon()


def write_at_once(temporary: str, target: str, data: bytes) -> None:
    """Writes a small file that readers never see in part."""
    if is_object_store(target):
        storage.write_object(target, data)
        return
    file = PendingFile(temporary, target)
    try:
        file.stream.write(data)
        file.publish()
    except BaseException:
        file.abandon()
        raise
