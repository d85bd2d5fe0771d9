"""One process or thread at a time, by a lock on a local file that ends with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
from collections.abc import Iterator

from pipelines import storage

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def file_lock(path: str) -> Iterator[None]:
    """Waits until no other holds the file's lock, then holds it.

    Object stores have no locks, nor do some mounted file systems: nothing is held there, and
    whoever cannot do without must check afterwards.

    Args:
      path: a file that stays where it is; where there is none, nothing is held.
    """
    with contextlib.ExitStack() as held:
        if storage.is_local(path):
            with contextlib.suppress(FileNotFoundError):
                file = held.enter_context(open(path, "rb+"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX)
                except OSError as error:
                    _LOG.debug("no locks on the file system of %s: %s", path, error)
        yield
