"""Rows from many places on their way into blocks."""

from __future__ import annotations

import pyarrow as pa

from pipelines.sources.base import BLOCK_BYTES, BLOCK_ROWS
from pipelines.sources.blocks import BlockMaker
from transforms.block import ROW_COLUMN, SOURCE_COLUMN, Block
from transforms.failures import Failure


class GatheredRows:
    """Rows and failures on their way into blocks."""

    def __init__(self, maker: BlockMaker, schema: pa.Schema) -> None:
        """Takes what makes the blocks, and their columns, `_source` and `_row` being last."""
        self._maker = maker
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self._failures: list[Failure] = []
        self._rows = self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether a block is due."""
        return self._rows >= BLOCK_ROWS or self._bytes >= BLOCK_BYTES

    def add(self, found: pa.RecordBatch | Failure) -> None:
        """Takes some rows, or one that failed."""
        if isinstance(found, Failure):
            self._failures.append(found)
            self._rows += 1
            return
        self._batches.append(pa.RecordBatch.from_arrays(found.columns, schema=self._schema))
        self._rows += found.num_rows
        self._bytes += found.nbytes

    def block(self) -> Block:
        """What was added since the last block."""
        whole = pa.Table.from_batches(self._batches, self._schema).combine_chunks().to_batches()
        failures, self._failures = self._failures, []
        self._batches, self._rows, self._bytes = [], 0, 0
        if not whole:
            return self._maker.failed(failures)
        (batch,) = whole
        columns = batch.select(batch.schema.names[:-2])
        rows = batch.column(ROW_COLUMN).to_numpy()
        return self._maker.block(columns, rows, failures, batch.column(SOURCE_COLUMN))
