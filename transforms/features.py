"""Arrow columns as the named arrays that a model takes.

tfx-bsl's `TensorAdapter` is the reference for the meaning of the conversion and the tests
compare with it; it does not do the work, because it knows only list columns, leaves sliced
batches undefined, and fails a whole batch without naming the row that is null or short.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from transforms.columns import column_parts
from transforms.conversion import (
    ArrayGroup,
    ColumnConversion,
    Conversion,
    FeatureError,
    RowError,
    expectation,
    fit_part,
    join_columns,
    merge_parts,
)
from transforms.matching import Feed


def columns_to_arrays(batch: pa.RecordBatch | pa.Table, feeds: Sequence[Feed]) -> Conversion:
    """Converts the fed columns of a batch, row by row where rows differ.

    Args:
      batch: the rows; slices and tables of several chunks are fine.
      feeds: which columns, and the dtype and shape each is brought to.

    Returns:
      One group for each combination of row shapes (a single one, with rows None, where all
      rows are alike and sound) and one error for each row that is null, of the wrong shape
      or not exact in the model's dtype. Numbers that need no cast share the batch's
      memory; such arrays are read-only.

    Raises:
      FeatureError: the batch lacks a column, or no tensor holds the column's values.
    """
    if batch.num_rows == 0:
        return Conversion([], [])
    if isinstance(batch, pa.Table):
        return _table_to_arrays(batch, feeds)
    columns = {feed.name: _convert(_column(batch, feed.column), feed) for feed in feeds}
    return join_columns(columns, batch.num_rows)


def _table_to_arrays(table: pa.Table, feeds: Sequence[Feed]) -> Conversion:
    indices = [
        table.schema.get_field_index(name) for name in dict.fromkeys(feed.column for feed in feeds)
    ]
    fed = table.select(indices) if min(indices, default=-1) >= 0 else table
    try:
        # Several where a column's texts are too much for one array.
        batches = fed.combine_chunks().to_batches()
    except pa.ArrowInvalid:
        # Of lists, pyarrow refuses so many.
        batches = fed.to_batches()
    conversions = [columns_to_arrays(batch, feeds) for batch in batches]
    if len(conversions) == 1:
        return conversions[0]
    groups: list[ArrayGroup] = []
    errors: list[RowError] = []
    first = 0
    for batch, conversion in zip(batches, conversions, strict=True):
        every = np.arange(batch.num_rows)
        groups.extend(
            ArrayGroup(first + (every if rows is None else rows), arrays)
            for rows, arrays in conversion.groups
        )
        errors.extend(error._replace(row=first + error.row) for error in conversion.errors)
        first += batch.num_rows
    return Conversion(groups, errors)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    index = batch.schema.get_field_index(name)
    if index < 0:
        raise FeatureError(
            f"expected column '{name}' in every batch. Received: {', '.join(batch.schema.names)}."
        )
    return batch.column(index)


def _convert(array: pa.Array, feed: Feed) -> ColumnConversion:
    stored = column_parts(array)
    if len(stored.parts) == 1 and not stored.errors:
        return fit_part(stored.parts[0], feed.column, feed.field)
    fitted = [fit_part(part, feed.column, feed.field) for part in stored.parts]
    expected = expectation(feed.column, feed.field)
    errors = [
        RowError(error.row, error.error, f"{expected}. Received: {error.message}.")
        for error in stored.errors
    ]
    errors.extend(error for conversion in fitted for error in conversion.errors)
    return ColumnConversion(
        merge_parts([part for conversion in fitted for part in conversion.parts]), errors
    )
