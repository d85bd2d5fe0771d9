"""Tables of failed rows as an input: which of their rows have nothing to score."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.block import ROW_COLUMN, SOURCE_COLUMN
from transforms.failures import Failure
from transforms.matching import RESERVED_COLUMNS

ORIGIN_COLUMNS = (SOURCE_COLUMN, ROW_COLUMN)


def is_failed_table(schema: pa.Schema) -> bool:
    """Whether a table was written by mirrorbeam for the rows that failed."""
    return set(schema.names).issuperset(RESERVED_COLUMNS)


def rows_without_copy(batch: pa.RecordBatch) -> dict[int, Failure]:
    """The rows of a table of failed rows that are not in it, by their place in the batch.

    Args:
      batch: the columns that are read, and those of `ORIGIN_COLUMNS`.
    """
    absent = np.ones(batch.num_rows, bool)
    for name in batch.schema.names:
        if name not in ORIGIN_COLUMNS:
            absent &= batch.column(name).is_null().to_numpy(zero_copy_only=False)
    failures = {}
    for at in np.flatnonzero(absent):
        source, row = (batch.column(name)[int(at)].as_py() for name in ORIGIN_COLUMNS)
        failures[int(at)] = Failure(
            source, row, "read", "NoCopyError",
            "expected a copy of the failed row in these columns. Received: nulls only; copies "
            f"above 1 MiB are left out, and images. Score row {row} of {source} again, or map the "
            "column that has it, such as 'record'.",
        )  # fmt: skip
    return failures
