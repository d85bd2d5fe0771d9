"""Who owns which predictor in this process.

Runners make many DoFn instances per process, tear idle ones down in the middle of a job and
may never tear down at all. The predictor therefore belongs to the process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import Protocol

_LOG = logging.getLogger(__name__)


class Closable(Protocol):
    """What a registry can own."""

    @property
    def is_closed(self) -> bool:
        """Whether it is of no more use."""

    def close(self) -> None:
        """Gives its threads and memory back."""


class Lease:
    """The right to use a predictor, until it is released."""

    def __init__(self, registry: Registry, key: Hashable, predictor: Closable) -> None:
        self.predictor = predictor
        self._registry = registry
        self._key = key
        self._released = False

    def release(self) -> None:
        """Gives the right back. The predictor stays for the next one. May be called again."""
        if not self._released:
            self._released = True
            self._registry.release(self._key)


class _Entry:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.predictor: Closable | None = None


class Registry:
    """One predictor per key, however many ask for it.

    A predictor without users stays until a predictor of another key is built, which needs its
    memory, or the process ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}
        self.loads = 0

    def acquire(self, key: Hashable, build: Callable[[], Closable]) -> Lease:
        """A lease on the key's predictor, which is built if there is none.

        Several callers at once wait for one build. What `build` raises goes to the caller, and
        the next one tries again.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.users += 1
        try:
            with entry.lock:
                if entry.predictor is None or entry.predictor.is_closed:
                    # One that failed must not keep its model while the next is loaded.
                    entry.predictor = None
                    self._close_unused()
                    entry.predictor = build()
                    with self._lock:
                        self.loads += 1
                return Lease(self, key, entry.predictor)
        except BaseException:
            self.release(key)
            raise

    def release(self, key: Hashable) -> None:
        """Counts one user less."""
        with self._lock:
            entry = self._entries[key]
            entry.users -= 1
            if entry.users == 0 and entry.predictor is None:
                del self._entries[key]

    def _close_unused(self) -> None:
        with self._lock:
            unused = [key for key, entry in self._entries.items() if not entry.users]
            entries = [self._entries.pop(key) for key in unused]
        for entry in entries:
            if entry.predictor is not None:
                _LOG.info("closing a model that nobody uses, to make room for another")
                entry.predictor.close()


PREDICTORS = Registry()
