"""How rows are grouped on the host before the engine makes device batches of them."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterator
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.arguments import is_count
from transforms.block import Block

# A group is what one submit carries. Fewer rows cost more per row in Python, more bytes
# leave the processor's caches; measured with 128 B to 150 kB a row on two cores.
AUTO_GROUP_ROWS = 4096
AUTO_GROUP_BYTES = 8 << 20
# A batch size that was asked for is kept together up to the bytes that the engine queues.
GIVEN_GROUP_BYTES = 256 << 20

_UNITS_PER_ROW = 1 << 10
_GROUP_TABLES = 8


@dataclasses.dataclass(frozen=True)
class Batching:
    """How many rows run at once, and how long they may wait for each other.

    Attributes:
      rows: rows of the global batch, which is cut into one slice per replica. `auto` goes by
        the bytes of a row. A larger batch uses a GPU better until its memory ends.
      in_flight: device batches that one bundle may have submitted and not yet emitted. Two
        keep the devices busy while the host prepares; more only take memory.
      max_wait_seconds: longest time that rows wait for others to fill a batch. None never
        waits while the devices are idle. In unbounded pipelines, where it also ends the host's
        groups, rows then go through Beam's state, which costs a shuffle.
      max_host_bytes: bytes of input that one process may have under way; whoever submits more
        waits. A row that is larger by itself is let in alone. None: an eighth of the free
        memory, at most 256 MiB, or 256 MiB for each GPU.
    """

    rows: int | Literal["auto"] = "auto"
    _: dataclasses.KW_ONLY
    in_flight: int = 2
    max_wait_seconds: float | None = None
    max_host_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.rows != "auto" and not is_count(self.rows):
            raise ValueError(
                f"expected rows='auto' or a number of rows above 0. Received: {self.rows!r}."
            )
        if not is_count(self.in_flight):
            raise ValueError(f"expected in_flight of 1 or more. Received: {self.in_flight!r}.")
        wait = self.max_wait_seconds
        if wait is not None and not (
            isinstance(wait, numbers.Real) and not isinstance(wait, bool) and 0 <= wait < math.inf
        ):
            raise ValueError(
                f"expected max_wait_seconds of 0 or more, or None. Received: {wait!r}."
            )
        if self.max_host_bytes is not None and not is_count(self.max_host_bytes):
            raise ValueError(
                f"expected max_host_bytes above 0, or None. Received: {self.max_host_bytes!r}."
            )

    @property
    def group_rows(self) -> int:
        """Most rows of one host group."""
        return AUTO_GROUP_ROWS if self.rows == "auto" else self.rows

    @property
    def group_bytes(self) -> int:
        """Most bytes of one host group that holds more than one element."""
        most = AUTO_GROUP_BYTES if self.rows == "auto" else GIVEN_GROUP_BYTES
        return most if self.max_host_bytes is None else min(most, self.max_host_bytes)


def count_rows(element: Any) -> int:
    """Rows of an element: a block's or a table's; anything else is one row."""
    if isinstance(element, Block):
        return element.batch.num_rows
    if isinstance(element, (pa.RecordBatch, pa.Table)):
        return element.num_rows
    return 1


def count_bytes(element: Any) -> int:
    """Bytes of an element's values, about; what has no size of its own counts as 8."""
    if isinstance(element, Block):
        return element.batch.nbytes
    if isinstance(element, dict):
        return sum(map(count_bytes, element.values()))
    if isinstance(element, (pa.RecordBatch, pa.Table, np.ndarray)):
        return element.nbytes
    if isinstance(element, (bytes, str)):
        return len(element)
    if isinstance(element, (list, tuple)):
        return sum(map(count_bytes, element))
    return 8


class _Weigh:
    """An element's share of a full group, whichever of rows and bytes fills it first."""

    def __init__(self, batching: Batching) -> None:
        self._bytes_per_unit = max(
            1, batching.group_bytes // (batching.group_rows * _UNITS_PER_ROW)
        )

    def __call__(self, stamped: tuple[Any, Any]) -> int:
        element = stamped[0]
        rows = count_rows(element)
        if not rows:
            return 0
        return max(rows * _UNITS_PER_ROW, count_bytes(element) // self._bytes_per_unit)


class _Stamp(beam.DoFn):
    """Pairs each element with its timestamp, which BatchElements would lose."""

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[tuple[Any, Any]]:
        """Yields the pair."""
        yield element, timestamp


class BatchRows(beam.PTransform):
    """Groups elements of any kind by rows and bytes: PCollection[T] to lists of (T, timestamp).

    The size is fixed. Beam's own estimate goes by how long the next transform takes, which
    says nothing where that only submits work.
    """

    def __init__(self, batching: Batching) -> None:
        super().__init__()
        self._batching = batching

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Stamps, then groups."""
        units = self._batching.group_rows * _UNITS_PER_ROW
        stamped = elements | "Stamp" >> beam.ParDo(_Stamp())
        if not elements.is_bounded and self._batching.max_wait_seconds is not None:
            # The stateful form counts elements, whatever they hold.
            of_tables = elements.element_type in (Block, pa.RecordBatch, pa.Table)
            rows = _GROUP_TABLES if of_tables else self._batching.group_rows
            return stamped | beam.BatchElements(
                min_batch_size=rows,
                max_batch_size=rows,
                max_batch_duration_secs=self._batching.max_wait_seconds,
                record_metrics=False,
            )
        return stamped | beam.BatchElements(
            min_batch_size=units,
            max_batch_size=units,
            element_size_fn=_Weigh(self._batching),
            record_metrics=False,
        )
