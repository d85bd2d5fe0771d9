"""Reads splits as a worker does, and checks what every source owes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.sources.base import BLOCK_ROWS, ReadRequest, Source, SourcePlan
from pipelines.splits import InputFile, Split
from transforms.block import Block
from transforms.failures import STAGES, Failure

SPLIT_BYTES = 64 * 2**20


class Reading(NamedTuple):
    """What a split gave.

    Attributes:
      rows: dicts by column, with `_source` and `_row`.
      failures: of all blocks, in order.
      total: rows that the split says it has.
    """

    rows: list[dict[str, Any]]
    failures: list[Failure]
    total: int

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]

    @property
    def failed_rows(self) -> list[int | None]:
        return [failure.row for failure in self.failures]


def input_files(paths: Iterable[Path | str]) -> list[InputFile]:
    return [InputFile(str(path), os.path.getsize(path)) for path in paths]


def plan(source: Source, *paths: Path, split_bytes: int = SPLIT_BYTES) -> SourcePlan:
    made = source.plan(input_files(paths), split_bytes)
    assert [split.index for split in made.splits] == list(range(len(made.splits)))
    assert all(Split.from_json(split.to_json()) == split for split in made.splits)
    return made


def keeping_all(source: Source, made: SourcePlan, **request: Any) -> Source:
    return source.prepared(ReadRequest(made.schema, kept=tuple(made.schema.names), **request))


def read(source: Source, split: Split, *, image_blocks: bool = False) -> Reading:
    """Reads a split with a source that has travelled to a worker."""
    travelled = pickle.loads(pickle.dumps(source))
    blocks = list(travelled.read(split))
    assert blocks
    for block in blocks:
        check_block(block, split)
        assert block.is_last == (block is blocks[-1])
        if not image_blocks or not block.batch.num_rows:
            assert block.batch.schema.equals(travelled.block_schema())
    rows = [row for block in blocks for row in block.batch.to_pylist()]
    failures = [failure for block in blocks for failure in block.failures]
    total = blocks[-1].rows_in_split
    assert total == len(rows) + len(failures)
    assert blocks[-1].batch.num_rows == 0
    if travelled.row_unit != "file":
        numbers = [row["_row"] for row in rows]
        assert numbers == sorted(numbers)
        assert not set(numbers) & {failure.row for failure in failures}
        failed = [failure.row for failure in failures if failure.row is not None]
        assert failed == sorted(failed)
        assert {row["_source"] for row in rows} <= set(split.files)
    assert {failure.source for failure in failures} <= set(split.files)
    return Reading(rows, failures, total)


def check_block(block: Block, split: Split) -> None:
    assert block.split == split
    assert block.batch.num_rows <= BLOCK_ROWS
    assert block.batch.schema.field("_source").type == pa.string()
    assert block.batch.schema.field("_row").type == pa.int64()
    block.batch.validate(full=True)
    for failure in block.failures:
        assert failure.stage in STAGES
        assert failure.message
        assert failure.error.isidentifier()


def read_file(source: Source, path: Path, **request: Any) -> Reading:
    """Plans and reads one file as one split, with all its columns."""
    made = plan(source, path)
    assert len(made.splits) == 1
    return read(keeping_all(source, made, **request), made.splits[0])


def damaged(data: bytes, flips: Sequence[int] = (), length: int | None = None) -> bytes:
    """The data with bytes inverted, and cut off."""
    changed = bytearray(data)
    for position in flips:
        changed[position] ^= 0xFF
    return bytes(changed[:length])
