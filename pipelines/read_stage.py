"""The start of the pipeline: splits become blocks of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipelines.image_padding import with_padding
from pipelines.sinks.base import Sink, SinkError
from pipelines.sources.base import Source
from pipelines.splits import Split
from pipelines.unchanged_inputs import unchanged
from transforms.block import Block
from transforms.column_types import is_image
from transforms.elements import batch_failures
from transforms.engine.stage_times import DECODE, READ, STAGE_TIMES
from transforms.scoring import FailedRow


class ReadDoFn(beam.DoFn):
    """Reads splits; a row that cannot be read travels on as a failure."""

    def __init__(self, source: Source, padded: str | None = None, job: str = "") -> None:
        """Takes a prepared source, the column of images to pad, and the run's own name."""
        self._source = source
        self._padded = padded
        self._job = job

    def process(self, split: Split) -> Iterator[Block]:
        """Yields a split's blocks in order."""
        STAGE_TIMES.begin(self._job)
        schema, kept = self._source.columns_schema(), set(self._source.wanted.kept)
        free = [field for field in schema if field.name in kept and is_image(field.type)]
        with STAGE_TIMES.split():
            for block in STAGE_TIMES.each(READ, unchanged(split, self._source.read(split))):
                yield dataclasses.replace(block, batch=self._shaped(block.batch, free))

    @STAGE_TIMES.timed(DECODE)
    def _shaped(self, batch: pa.RecordBatch, free: Sequence[pa.Field]) -> pa.RecordBatch:
        for field in free:
            batch = with_free_shape(batch, field)
        return batch if self._padded is None else with_padding(batch, self._padded)


def without_misfits(block: Block, sink: Sink, kept: Sequence[str]) -> Block:
    """The block with rows failed that the output's format cannot hold; before they are scored.

    Args:
      block: as it is read.
      sink: the format.
      kept: columns that go to the output; what a model gives fits whole or not at all.
    """
    misfits = sink.misfits(block.batch.select(list(kept)))
    if not misfits:
        return block
    failed = [
        FailedRow(row, "convert", SinkError.__name__, misfits[row]) for row in sorted(misfits)
    ]
    fits = np.ones(block.batch.num_rows, bool)
    fits[list(misfits)] = False
    return dataclasses.replace(
        block,
        batch=block.batch.filter(pa.array(fits)),
        failures=(*block.failures, *batch_failures(block.batch, failed)),
    )


def without_images(block: Block, name: str) -> Block:
    """The block with failed rows that have no copy of their image: the file still has it."""
    failures = tuple(
        failure._replace(data={})
        if isinstance(failure.data, dict) and name in failure.data
        else failure
        for failure in block.failures
    )
    return dataclasses.replace(block, failures=failures)


def with_free_shape(batch: pa.RecordBatch, field: pa.Field) -> pa.RecordBatch:
    """Gives a column of equal images the type for images of any size: a part has one schema.

    Args:
      batch: some rows.
      field: the column, as a struct of flat `data` and `shape`.
    """
    column = batch.column(field.name)
    if not isinstance(column.type, pa.FixedShapeTensorType):
        return batch
    shape = column.type.shape
    size = int(np.prod(shape))
    offsets = np.arange(len(column) + 1, dtype=np.int64) * size
    values = column.storage.flatten()
    data_type, shape_type = field.type.field("data").type, field.type.field("shape").type
    data = pa.LargeListArray.from_arrays(pa.array(offsets), values).cast(data_type)
    shapes = pa.array([shape] * len(column), shape_type)
    struct = pa.StructArray.from_arrays([data, shapes], fields=list(field.type))
    return batch.set_column(batch.schema.get_field_index(field.name), field, struct)
