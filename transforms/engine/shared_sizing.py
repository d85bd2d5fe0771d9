"""One search for the batch size, and one limit, for several dispatchers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from transforms.engine.sizing import BatchSizer, Sizes


def share_sizer(sizer: BatchSizer, sharers: int) -> tuple[Sizes, ...]:
    """The sizer as each of several dispatchers sees it: its batch is one part of the global one.

    What one of them learns holds for all: their devices are of one make, and what did not fit
    on one will not fit on the next.
    """
    if sharers == 1:
        return (sizer,)
    shared = _Shared(sizer, sharers)
    return tuple(_Part(shared) for _ in range(sharers))


class _Shared:
    def __init__(self, sizer: BatchSizer, sharers: int) -> None:
        self.sizer = sizer
        self.sharers = sharers
        self.lock = threading.Lock()
        self.fitting: dict[_Part, int] = {}


class _Part:
    def __init__(self, shared: _Shared) -> None:
        self._shared = shared

    def set_fitting(self, rows: int | None) -> None:
        shared = self._shared
        with shared.lock:
            shared.fitting.pop(self, None)
            if rows is not None:
                shared.fitting[self] = rows
            # The tightest device counts.
            least = min(shared.fitting.values(), default=None)
            shared.sizer.set_fitting(None if least is None else least * shared.sharers)

    def rows_for(self, row_bytes: int, is_static: bool = True) -> int:
        with self._shared.lock:
            return self._shared.sizer.rows_for(row_bytes, is_static) // self._shared.sharers

    def observe(self, rows: int, row_bytes: int, seconds: float, is_static: bool = True) -> bool:
        shared = self._shared
        with shared.lock:
            return shared.sizer.observe(rows * shared.sharers, row_bytes, seconds, is_static)

    def out_of_memory(
        self, rows: int, row_bytes: int, predicted_rows: Callable[[], int | None] | None = None
    ) -> bool:
        shared = self._shared
        # Asked before the lock, which is not to be held while the device is looked at.
        predicted = predicted_rows() if predicted_rows is not None else None
        with shared.lock:
            limited = shared.sizer.rows_for(row_bytes) // shared.sharers
            if limited < rows:
                # Another dispatcher's batch of the old size failed first.
                return True
            return shared.sizer.out_of_memory(
                rows * shared.sharers,
                row_bytes,
                lambda: None if predicted is None else predicted * shared.sharers,
            )
