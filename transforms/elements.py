"""The kinds of element that can be scored, and what a scored one looks like."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.block import ROW_COLUMN, SOURCE_COLUMN, Block
from transforms.engine.signature import TensorField
from transforms.failures import Failure
from transforms.outputs import output_schema, outputs_to_columns
from transforms.plain_values import plain_value
from transforms.scoring import FailedRow, Part, Results, good_rows, positions

Keep = str | Sequence[str] | None

# More of them would make a message that nobody reads.
_NAMED_COLUMNS = 50


def kept_columns(names: Sequence[str], consumed: Sequence[str], keep: Keep) -> list[str]:
    """The input columns that go with the predictions, in their own order.

    Args:
      names: every column.
      consumed: those that feed the model.
      keep: names, `all`, `none`, or None for every column that is not consumed.

    Raises:
      ValueError: a column to keep is not there, or there more than once.
    """
    if keep is None:
        return _each_once([name for name in names if name not in consumed])
    if keep == "all":
        return _each_once(names)
    wanted = [] if keep == "none" else [keep] if isinstance(keep, str) else list(keep)
    missing = [name for name in wanted if name not in names]
    if missing:
        more = len(names) - _NAMED_COLUMNS
        shown = ", ".join(names[:_NAMED_COLUMNS]) + (f" and {more} more" if more > 0 else "")
        raise ValueError(
            f"expected the columns to keep among {shown}. "
            f"Received: {', '.join(missing)}. Correct keep."
        )
    return _each_once([name for name in names if name in wanted])


def _each_once(names: Sequence[str]) -> list[str]:
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"expected columns to keep with names of their own. Received: {name!r} "
            f"{names.count(name)} times. Rename them, or leave them out with keep."
        )
    return list(names)


def output_names(outputs: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """What each output is called beside the input's columns: no two columns share a name."""
    names = {}
    taken = {*columns, *outputs}
    for name in outputs:
        free = name
        if name in columns:
            while free in taken:
                free += "_predicted"
            taken.add(free)
        names[name] = free
    return names


def scored_batch(
    batch: pa.RecordBatch | pa.Table,
    results: Results,
    kept: Sequence[str],
    fields: Sequence[TensorField],
) -> Any:
    """The predicted rows of a batch, in order: kept columns, then outputs.

    Args:
      batch: all rows; of a table's columns the chunks stay as they are.
      results: what became of them.
      kept: columns that go along.
      fields: the model's outputs.
    """
    good = good_rows(results)
    columns = batch.select(list(kept))
    if good is not None:
        # A table's rows are not put together: one array may be too small for its texts.
        is_table = isinstance(columns, pa.Table)
        columns = (
            columns.filter(_mask(good, results.total)) if is_table else columns.take(pa.array(good))
        )
    names = output_names([field.name for field in fields], batch.schema.names)
    schema = output_schema(fields)
    arrays = _output_arrays(results.parts, fields, schema)
    return type(batch).from_arrays(
        [*columns.columns, *arrays],
        schema=pa.schema(
            [*columns.schema, *(field.with_name(names[field.name]) for field in schema)]
        ),
    )


def _mask(positions: np.ndarray, total: int) -> pa.Array:
    mask = np.zeros(total, dtype=bool)
    mask[positions] = True
    return pa.array(mask)


def _output_arrays(
    parts: Sequence[Part], fields: Sequence[TensorField], schema: Sequence[pa.Field]
) -> list[pa.Array]:
    filled = [part for part in parts if any(len(values) for values in part.outputs.values())]
    if not filled:
        return [pa.array([], type=field.type) for field in schema]
    columns = [dict(outputs_to_columns(part.outputs, fields)) for part in filled]
    if len(filled) == 1:
        return [columns[0][field.name] for field in schema]
    order = pa.array(np.argsort(positions(filled), kind="stable"))
    return [
        pa.concat_arrays([part[field.name] for part in columns]).take(order) for field in schema
    ]


def batch_failures(
    batch: pa.RecordBatch | pa.Table, failed: Sequence[FailedRow]
) -> Iterator[Failure]:
    """Failure records of a batch's rows, with their origin where the batch says it."""
    for row, stage, error, message in failed:
        values = row_values(batch, row)
        source = values.pop(SOURCE_COLUMN, None)
        position = values.pop(ROW_COLUMN, row)
        yield Failure(source, position, stage, error, message, values)


def row_values(batch: pa.RecordBatch | pa.Table, row: int) -> dict[str, Any]:
    """One row as plain values by column."""
    return {
        name: plain_value(column[row])
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def scored_block(
    block: Block, results: Results, kept: Sequence[str], fields: Sequence[TensorField]
) -> Block:
    """The block with its predictions, origins last; rows that failed join its failures."""
    columns = list(dict.fromkeys([*kept, *_origin(block.batch.schema)]))
    batch = scored_batch(block.batch, results, columns, fields)
    origin = _origin(batch.schema)
    others = [name for name in batch.schema.names if name not in origin]
    return dataclasses.replace(
        block,
        batch=batch.select(others + origin),
        failures=(*block.failures, *batch_failures(block.batch, results.failed)),
    )


def _origin(schema: pa.Schema) -> list[str]:
    return [name for name in (SOURCE_COLUMN, ROW_COLUMN) if name in schema.names]


def row_mapping(element: Any, name: str) -> Mapping[str, Any]:
    """A one-row element as values by column.

    Args:
      element: a dict, an array or the bytes of a record.
      name: the column that an array or a record is.
    """
    return element if isinstance(element, Mapping) else {name: element}


def scored_rows(
    rows: Sequence[Mapping[str, Any]], results: Results, consumed: Sequence[str], keep: Keep
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Position and prediction of each predicted row, in order.

    A prediction has the kept values as they came and the outputs as NumPy values.
    """
    if len(results.parts) == 1:
        yield from _part_rows(rows, results.parts[0], consumed, keep)
        return
    by_row = [pair for part in results.parts for pair in _part_rows(rows, part, consumed, keep)]
    yield from sorted(by_row, key=lambda pair: pair[0])


def _part_rows(
    rows: Sequence[Mapping[str, Any]], part: Part, consumed: Sequence[str], keep: Keep
) -> Iterator[tuple[int, dict[str, Any]]]:
    order = range(len(rows)) if part.rows is None else part.rows.tolist()
    outputs = [_widened(values) for values in part.outputs.values()]
    columns: Any = None
    kept: list[str] = []
    names: list[str] = []
    for row, *values in zip(order, *outputs, strict=True):
        given = rows[row]
        if given.keys() != columns:
            columns = given.keys()
            kept = _kept_of_row(list(columns), consumed, keep)
            names = list(output_names(list(part.outputs), list(columns)).values())
        prediction = {name: given.get(name) for name in kept}
        prediction.update(zip(names, values, strict=True))
        yield row, prediction


def _kept_of_row(columns: Sequence[str], consumed: Sequence[str], keep: Keep) -> list[str]:
    """What is kept of a row; a named value that this row lacks will be None."""
    if keep in (None, "all", "none"):
        return kept_columns(columns, consumed, keep)
    return [keep] if isinstance(keep, str) else list(keep)


def _widened(values: np.ndarray) -> np.ndarray:
    """bfloat16, which little else reads, leaves as float32."""
    return values.astype(np.float32) if values.dtype.name == "bfloat16" else values
