"""The blocks that a source gives: rows, where they are from, and how many they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.splits import Split
from transforms.block import ROW_COLUMN, SOURCE_COLUMN, Block
from transforms.failures import Failure

PROVENANCE_FIELDS = (pa.field(SOURCE_COLUMN, pa.string()), pa.field(ROW_COLUMN, pa.int64()))


class BlockMaker:
    """Makes the blocks of one split: adds where rows are from, and counts them."""

    def __init__(self, split: Split, columns_schema: pa.Schema) -> None:
        """Takes the split and its columns without `_source` and `_row`."""
        self._split = split
        self._columns_schema = columns_schema
        self._rows = 0

    def block(
        self,
        batch: pa.RecordBatch | None,
        rows: np.ndarray,
        failures: Sequence[Failure] = (),
        sources: Sequence[str] | pa.Array | None = None,
    ) -> Block:
        """A block that is not the split's last.

        Args:
          batch: the good rows' columns; None where they have none.
          rows: their positions in the source, int64.
          failures: those that came up between them.
          sources: where each row is from, if not all are from the split's only file.
        """
        self._rows += len(rows) + len(failures)
        if sources is None:
            origins = pa.repeat(pa.scalar(self._split.files[0], pa.string()), len(rows))
        else:
            origins = pa.array(sources, pa.string())
        columns = [] if batch is None else batch.columns
        fields = [] if batch is None else list(batch.schema)
        return Block(
            pa.RecordBatch.from_arrays(
                [*columns, origins, pa.array(rows, pa.int64())],
                schema=pa.schema([*fields, *PROVENANCE_FIELDS]),
            ),
            tuple(failures),
            self._split,
        )

    def failed(self, failures: Sequence[Failure]) -> Block:
        """A block without rows, for failures only."""
        columns = pa.RecordBatch.from_pylist([], schema=self._columns_schema)
        return self.block(columns, np.empty(0, np.int64), failures)

    def last(self) -> Block:
        """The block that ends the split: no rows, but their number so far."""
        return dataclasses.replace(self.failed(()), rows_in_split=self._rows)
