"""What is written to a local disk, and what it has of it."""

from __future__ import annotations

import ctypes
import os


def sync_disk_of(folder: str) -> None:
    """Waits until what was written to a local folder's disk outlasts a loss of power.

    One call for all files, of other processes and other folders of that disk too.

    Raises:
      OSError: the disk could not write some of it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)
