"""Groups of rows that are predicted in shares: what each holds, and what became of it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from transforms.engine.arrays import array_bytes
from transforms.engine.errors import InferenceError
from transforms.engine.slicing import Columns, count_rows, cut, join_outputs


class Scored(NamedTuple):
    """What became of one submitted group.

    Attributes:
      outputs: by output name, the rows that were predicted, in order.
      errors: by row in the group, why it has no prediction.
    """

    outputs: dict[str, np.ndarray]
    errors: dict[int, InferenceError]


class Group:
    """One submitted group of rows of one kind, and what has been predicted of it."""

    __slots__ = (
        "_lock",
        "_missing",
        "_parts",
        "bytes",
        "columns",
        "errors",
        "future",
        "key",
        "rows",
        "submitter",
        "taken",
    )

    def __init__(self, columns: Columns, future: Future[Scored], length_class: int = 0) -> None:
        self.columns = columns
        self.future = future
        self.rows = count_rows(columns)
        self.bytes = sum(array_bytes(values) for values in columns.values())
        shapes = tuple(
            (name, values.dtype.char, values.shape[1:]) for name, values in columns.items()
        )
        # Only groups of one key share a batch.
        self.key = (length_class, shapes)
        self.submitter = threading.get_ident()
        self.taken = 0
        self.errors: dict[int, InferenceError] = {}
        self._missing = self.rows
        self._parts: list[tuple[int, Columns]] = []
        self._lock = threading.Lock()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, on average."""
        return self.bytes // max(1, self.rows)

    def settle(self, share: Share, outputs: Columns, errors: dict[int, InferenceError]) -> bool:
        """Takes what became of some rows; batches of several dispatchers end in any order.

        Args:
          share: which rows.
          outputs: those of them that were predicted.
          errors: by row of the group, why the others were not.

        Returns:
          Whether the group is done with it.
        """
        with self._lock:
            self._parts.append((share.start, outputs))
            self.errors |= errors
            self._missing -= share.rows
            if self._missing or self.future.done():
                return False
        self._parts.sort(key=lambda part: part[0])
        try:
            joined = dict(join_parts([part for _, part in self._parts]))
        except BaseException as error:
            self.future.set_exception(error)
            raise
        self.future.set_result(Scored(joined, self.errors))
        return True

    def fail(self, error: BaseException) -> None:
        """Gives the group up; what other dispatchers still bring is dropped."""
        with self._lock:
            if (self._missing or not self.rows) and not self.future.done():
                self.future.set_exception(error)


class Share(NamedTuple):
    """Rows `start` to `stop` of a group, which are in one device batch."""

    group: Group
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows of the batch are the group's."""
        return self.stop - self.start

    @property
    def columns(self) -> Columns:
        """The share's rows, uncopied."""
        if self.rows == self.group.rows:
            return self.group.columns
        return cut(self.group.columns, self.start, self.stop)


def settle(shares: list[Share], outputs: Columns, errors: dict[int, InferenceError]) -> list[Group]:
    """Gives each group its rows of a batch back; a group that is complete is done.

    Args:
      shares: the groups' rows, in the batch's order.
      outputs: the rows of the batch that were predicted.
      errors: by row of the batch, why the others were not.

    Returns:
      The groups that are done.
    """
    rows = sum(share.rows for share in shares)
    failed = np.zeros(rows + 1, dtype=np.int64)
    failed[[row + 1 for row in errors]] = 1
    failed_before = failed.cumsum()
    first = 0
    done = []
    for share in shares:
        group, last = share.group, first + share.rows
        predicted = cut(outputs, int(first - failed_before[first]), int(last - failed_before[last]))
        own = {
            share.start + row - first: reason
            for row, reason in errors.items()
            if first <= row < last
        }
        if group.settle(share, predicted, own):
            done.append(group)
        first = last
    return done


def join_parts(parts: list[Columns]) -> Columns:
    """Puts predicted parts after each other; parts without rows may have any shape."""
    filled = [part for part in parts if count_rows(part)]
    return join_outputs(filled or parts[:1])
