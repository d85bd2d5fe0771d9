"""Beam coders that move Arrow batches and tables as Arrow IPC; registered on import.

Beam would pickle them, and a pickled slice carries its whole parent: ten rows of a batch of
ten megabytes would cross a shuffle as ten megabytes. Buffers are not compressed: what is
shuffled is small, and compressing costs more time than moving bytes in memory.
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat


class RecordBatchCoder(beam.coders.Coder):
    """A `pyarrow.RecordBatch` with its schema and metadata.

    Not deterministic: equal batches may differ in padding and in what lies under nulls.
    """

    def encode(self, value: pa.RecordBatch) -> bytes:
        """The batch as an IPC stream of one message."""
        batch = _without_unused(value)
        return _write(batch.schema, [batch])

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """The batch; its buffers are those of `encoded`."""
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Bytes of the rows themselves, without encoding them."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """False: see the class."""
        return False

    def to_type_hint(self) -> Any:
        """The type that is coded."""
        return pa.RecordBatch


class TableCoder(beam.coders.Coder):
    """A `pyarrow.Table` with its schema, metadata and chunks. Not deterministic either."""

    def encode(self, value: pa.Table) -> bytes:
        """The table as an IPC stream of its chunks."""
        return _write(value.schema, [_without_unused(batch) for batch in value.to_batches()])

    def decode(self, encoded: bytes) -> pa.Table:
        """The table; its buffers are those of `encoded`."""
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_all()

    def estimate_size(self, value: pa.Table) -> int:
        """Bytes of the rows themselves, without encoding them."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """False: see the class."""
        return False

    def to_type_hint(self) -> Any:
        """The type that is coded."""
        return pa.Table


def _write(schema: pa.Schema, batches: list[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _without_unused(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without what IPC would write though no row of a slice refers to it."""
    if batch.num_rows:
        columns = [_compact(column) for column in batch.columns]
    else:
        columns = [pa.array([], field.type) for field in batch.schema]
    if all(new is old for new, old in zip(columns, batch.columns, strict=True)):
        return batch
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _compact(column: pa.Array) -> pa.Array:
    kind = column.type
    if pat.is_dictionary(kind) and len(column.dictionary) > len(column):
        used = column.indices.unique().drop_null()
        indices = pc.index_in(column.indices, used).cast(kind.index_type)
        values = column.dictionary.take(used)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
    if pat.is_string_view(kind) or pat.is_binary_view(kind):
        copied = column.cast(pa.large_string() if pat.is_string_view(kind) else pa.large_binary())
        return copied.cast(kind) if copied.nbytes < column.nbytes // 2 else column
    if pat.is_list_view(kind) or pat.is_large_list_view(kind):
        return _compact_list_view(column)
    return column


def _compact_list_view(column: pa.Array) -> pa.Array:
    values = column.flatten()
    if len(values) * 2 > len(column.values):
        return column
    nulls = column.is_null()
    sizes = np.where(nulls.to_numpy(zero_copy_only=False), 0, column.sizes.to_numpy())
    width = column.sizes.type
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return type(column).from_arrays(
        pa.array(offsets, width), pa.array(sizes, width), values, type=column.type, mask=nulls
    )


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
beam.coders.registry.register_coder(pa.Table, TableCoder)
