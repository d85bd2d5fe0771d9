"""What waits to be predicted: groups of rows, joined and cut into device batches."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from transforms.engine.groups import Group, Share
from transforms.engine.host_memory import free_memory_bytes
from transforms.engine.stage_times import QUEUE, STAGE_TIMES

# Enough for two device batches of a gigabyte of images a second.
QUEUE_BYTES = 256 << 20
_QUEUE_SHARE = 8


def default_queue_bytes(gpus: int) -> int:
    """An eighth of the memory that the host has left, at most 256 MiB, or that for each GPU."""
    return max(1, min(QUEUE_BYTES * max(1, gpus), free_memory_bytes() // _QUEUE_SHARE))


class GroupQueue:
    """A queue from which batches are taken in order of arrival, bounded in bytes under way.

    A group counts from `put` until it is settled. Groups of one shape are joined; others wait
    for their turn, which comes when they are the oldest.
    """

    def __init__(self, limit_bytes: int, max_wait_seconds: float | None) -> None:
        self._limit_bytes = limit_bytes
        self._max_wait_seconds = max_wait_seconds
        self._groups: collections.deque[Group] = collections.deque()
        self._rows = 0
        self._bytes = 0
        self._demanded = False
        self._blocked = 0
        self._closed = False
        self._filled_at = 0.0
        self._changed = threading.Condition()

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more groups."""
        with self._changed:
            return self._closed

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left and nothing will come."""
        with self._changed:
            return self._closed and not self._groups

    @property
    def shapes(self) -> int:
        """How many shapes of rows are waiting, at least one."""
        with self._changed:
            return max(1, len({group.key for group in self._groups}))

    def put(self, group: Group) -> bool:
        """Queues a group; waits while it would exceed the bound, unless it is alone.

        Returns:
          False where the queue is closed and the group was not taken.
        """
        with self._changed:
            if not self._has_room(group):
                # Rows held back for a full batch would wait for this group, and it for them.
                self._blocked += 1
                self._changed.notify_all()
                try:
                    self._changed.wait_for(lambda: self._has_room(group))
                finally:
                    self._blocked -= 1
            if self._closed:
                return False
            if not self._groups:
                self._filled_at = time.perf_counter()
            self._groups.append(group)
            self._rows += group.rows
            self._bytes += group.bytes
            self._changed.notify_all()
            return True

    def take(
        self, limit_rows: Callable[[Group], int], running: Future[Any] | None = None
    ) -> list[Share]:
        """The next batch: rows of one shape, the oldest or the first that fill a batch.

        Waits for a group, and then for a full batch as long as is allowed; while another batch
        runs, for a full one or the end of that.

        Args:
          limit_rows: most rows of a batch of such groups.
          running: done when the devices are done with the batch before; `wake` has to be called
            then. None where they already are.

        Returns:
          Nothing where the queue is closed and empty, or the other batch ended first.
        """
        with self._changed:
            if running is None:
                self._changed.wait_for(lambda: self._groups or self._closed)
                self._hold(limit_rows)
            else:
                self._changed.wait_for(lambda: running.done() or self._is_ready(limit_rows))
                if self._max_wait_seconds is not None and not self._is_ready(limit_rows):
                    return []
            if not self._groups:
                return []
            chosen = self._chosen(limit_rows)
            shares = self._cut(chosen, limit_rows(chosen))
            if not self._groups:
                self._demanded = False
                STAGE_TIMES.add(QUEUE, time.perf_counter() - self._filled_at)
            self._changed.notify_all()
            return shares

    def settled(self, groups: list[Group]) -> None:
        """Makes room: these groups are done."""
        with self._changed:
            self._bytes -= sum(group.bytes for group in groups)
            self._changed.notify_all()

    def wake(self) -> None:
        """Makes whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def demand(self) -> None:
        """Makes what is queued run without waiting for a full batch."""
        if self._max_wait_seconds is None:
            return
        with self._changed:
            self._demanded = bool(self._groups)
            self._changed.notify_all()

    def close(self) -> None:
        """Takes no more groups."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[Group]:
        """Closes the queue and gives back what was in it."""
        with self._changed:
            self._closed = True
            groups = list(self._groups)
            self._groups.clear()
            self._changed.notify_all()
            return groups

    def _has_room(self, group: Group) -> bool:
        return self._closed or not self._groups or self._bytes + group.bytes <= self._limit_bytes

    def _hold(self, limit_rows: Callable[[Group], int]) -> None:
        if self._max_wait_seconds is None or not self._groups:
            return
        until = time.monotonic() + self._max_wait_seconds
        while not self._closed and not self._demanded and not self._blocked:
            remaining = until - time.monotonic()
            if self._rows >= limit_rows(self._groups[0]) or remaining <= 0:
                return
            self._changed.wait(remaining)

    def _is_ready(self, limit_rows: Callable[[Group], int]) -> bool:
        """Whether waiting would not make the next batch larger."""
        if not self._groups or self._closed or self._blocked:
            return bool(self._groups)
        chosen = self._chosen(limit_rows)
        rows = sum(group.rows - group.taken for group in self._groups if group.key == chosen.key)
        return rows >= limit_rows(chosen)

    def _chosen(self, limit_rows: Callable[[Group], int]) -> Group:
        """The oldest group, or the oldest of a shape that fills a batch."""
        oldest = self._groups[0]
        if all(group.key == oldest.key for group in self._groups):
            return oldest
        rows: collections.Counter[Any] = collections.Counter()
        first: dict[Any, Group] = {}
        for group in self._groups:
            rows[group.key] += group.rows - group.taken
            first.setdefault(group.key, group)
        full = (group for key, group in first.items() if rows[key] >= limit_rows(group))
        return next(full, oldest)

    def _cut(self, chosen: Group, room: int) -> list[Share]:
        shares: list[Share] = []
        left: list[Group] = []
        while self._groups and (room > 0 or not shares):
            group = self._groups.popleft()
            if group.key != chosen.key:
                left.append(group)
                continue
            share = Share(group, group.taken, min(group.rows, group.taken + room))
            shares.append(share)
            group.taken = share.stop
            room -= share.rows
            self._rows -= share.rows
            if group.taken < group.rows:
                left.append(group)
        self._groups.extendleft(reversed(left))
        return shares


class DemandingFuture(Future):  # type: ignore[type-arg]
    """A future whose waiter does not wait for other rows to fill the batch."""

    def __init__(self, queue: GroupQueue) -> None:
        super().__init__()
        self._queue = queue

    def result(self, timeout: float | None = None) -> Any:
        """The result, once what is queued before it has run."""
        if not self.done():
            self._queue.demand()
        return super().result(timeout)
