"""The element of a scoring job: a block of rows with what is known of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from transforms.failures import Failure

SOURCE_COLUMN = "_source"
ROW_COLUMN = "_row"


@dataclasses.dataclass(frozen=True)
class Block:
    """Some rows of one split, in order, and the failures that came with them.

    One stream of blocks runs from reading to commit: failures and counts travel in
    it, so that no tagged output has to be joined back.

    Attributes:
      batch: the rows that are still to be scored, or have been; with `_source` and
        `_row` where the pipeline keeps track of origins.
      failures: rows of this block that failed so far.
      split: what the rows are a part of; carried along untouched.
      rows_in_split: on a split's last block, all rows the split has; else None.
      run_info: on a split's last block, facts about the devices that scored it.
    """

    batch: pa.RecordBatch
    failures: tuple[Failure, ...] = ()
    split: Any = None
    rows_in_split: int | None = None
    run_info: dict[str, Any] | None = None

    @property
    def is_last(self) -> bool:
        """Whether the split ends with this block."""
        return self.rows_in_split is not None
