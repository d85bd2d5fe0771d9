"""How large a file is and when it was written, asked for in one request."""

from __future__ import annotations

import os
import stat

from pipelines.object_stores import is_s3, s3_object_state
from pipelines.retrying import retried
from pipelines.storage import is_local


def file_state(path: str) -> tuple[int, int | None] | None:
    """Size in bytes and time of writing in ns, as of an `InputFile`; None where there is no file.

    Some stores tell the time with more digits in a listing, from which input files are.

    Raises:
      OSError: it cannot be told.
    """
    if not is_local(path):
        return retried(lambda: _remote_state(path), f"looking at {path}")
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _remote_state(path: str) -> tuple[int, int | None] | None:
    from apache_beam.io.filesystems import FileSystems

    filesystem = FileSystems.get_filesystem(path)
    try:
        if is_s3(path):
            size, seconds = s3_object_state(path)
        else:
            metadata = filesystem.metadata(path)
            size, seconds = metadata.size_in_bytes, metadata.last_updated_in_seconds
    except Exception:
        # Not all filesystems say by their error whether it is gone, or out of reach.
        if not filesystem.exists(path):
            return None
        raise
    return int(size), round(seconds * 1e9) or None
