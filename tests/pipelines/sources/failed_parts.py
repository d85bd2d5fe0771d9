"""Tables of failed rows, as a job would leave them, and what they are read as."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.failed_rows import failed_schema, failures_to_batch
from pipelines.option_flags import add_source_arguments
from pipelines.sinks.parquet import stored_schema
from pipelines.sources import source_of
from pipelines.sources.base import ReadRequest, Source
from pipelines.sources.failed_tables import FailedTablesSource
from pipelines.splits import Split
from tests.pipelines.inputs import write_jsonl
from tests.pipelines.sources.reading import input_files
from transforms.block import Block
from transforms.failures import Failure


def flags(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_arguments(parser)
    return parser.parse_args(given)


def prepared(
    source: Source, *paths: Path, kept: Sequence[str] | None = None, **request: Any
) -> tuple[Source, tuple[Split, ...]]:
    made = source.plan(input_files(paths), 2**26)
    wanted = ReadRequest(made.schema, kept=tuple(kept or made.schema.names), **request)
    return pickle.loads(pickle.dumps(source.prepared(wanted))), made.splits


def blocks_of(source: Source, splits: Sequence[Split]) -> list[Block]:
    return [block for split in splits for block in source.read(split)]


def rows_of(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [row for block in blocks for row in block.batch.to_pylist()]


def failures_of(blocks: Sequence[Block]) -> list[Failure]:
    return [failure for block in blocks for failure in block.failures]


def write_table(
    path: Path, source: Source, split: Split, failures: Sequence[Failure], metadata: bool = True
) -> Path:
    """What a job would leave of a split's failures."""
    schema = failed_schema(source.columns_schema())
    origin = source.origin(split)
    assert origin is not None
    rows = pa.Table.from_batches([failures_to_batch(failures, schema)]).cast(stored_schema(schema))
    pq.write_table(rows.replace_schema_metadata(origin.to_metadata() if metadata else None), path)
    return path


def read_tables(
    *paths: Path, given: Sequence[str] = (), **request: Any
) -> tuple[FailedTablesSource, list[Block]]:
    found = source_of("parquet", input_files(paths), flags(*given))
    assert isinstance(found, FailedTablesSource)
    source, splits = prepared(found, *paths, **request)
    blocks = blocks_of(source, splits)
    for block in blocks:
        assert block.batch.schema.names == source.block_schema().names
        block.batch.validate(full=True)
    total = sum(block.rows_in_split or 0 for block in blocks)
    assert total == len(rows_of(blocks)) + len(failures_of(blocks))
    assert isinstance(source, FailedTablesSource)
    return source, blocks


def absent(path: Path, row: int, error: str = "RecordSizeError", stage: str = "read") -> Failure:
    return Failure(str(path), row, stage, error, "why", None)


def lines(path: Path, count: int = 5) -> Path:
    return write_jsonl(path, [{"id": i, "x": [i, 0.5]} for i in range(count)])
