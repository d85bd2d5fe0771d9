"""JSON lines: a row is a line that holds an object, a column one of its members."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipelines.sources.base import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    BlockMaker,
    InputError,
    Source,
    SourcePlan,
    own_columns,
)
from pipelines.sources.json_rows import infer_schema, load_objects, parse_lines
from pipelines.sources.sampling import sample_files
from pipelines.sources.streams import DamagedFileError, text_chunks
from pipelines.sources.text_streams import lines
from pipelines.sources.text_values import as_fed
from pipelines.splits import InputFile, Split, whole_files
from transforms.block import Block
from transforms.failures import Failure

_SAMPLED_LINES = 10_000
_SAMPLED_BYTES = 2 * 2**20


class JsonLinesSource(Source):
    """Reads JSON lines, plain or gzipped, one split a file.

    A line that is no object, or one whose members have other types than planned, is a
    failure of its own; a missing member is null, an unknown one is passed over. Blank lines
    are not counted.
    """

    name: ClassVar[str] = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".jsonlines")
    row_unit: ClassVar[str] = "row"

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """One split a file; the columns are the members that some first lines have."""
        splits = whole_files(files)
        samples = sample_files(files, _first_lines)
        if samples.is_empty:
            return SourcePlan(splits, pa.schema([]), rows=0)
        objects = load_objects(itertools.chain.from_iterable(samples.by_path.values()))
        path = next(iter(samples.by_path), files[0].path)
        if not objects:
            raise InputError(
                f"expected a JSON object on each line. Received: none on the first lines of "
                f"{path}. Check the file, or pass another --input_format."
            )
        return SourcePlan(splits, own_columns(infer_schema(objects), path))

    def columns_schema(self) -> pa.Schema:
        """The columns with types that suit what they feed."""
        request = self.wanted
        return pa.schema(
            [as_fed(request.schema.field(name), request.fed.get(name)) for name in request.columns]
        )

    def read(self, split: Split) -> Iterator[Block]:
        """Reads a file from its first line to its last, in blocks."""
        path = split.files[0]
        maker = BlockMaker(split, self.columns_schema())
        row = split.first_row
        try:
            for group in _groups(lines(text_chunks(path))):
                yield self._block(maker, path, group, row)
                row += len(group)
        except DamagedFileError as error:
            message = f"the rest of the file cannot be read: {error}"
            yield maker.failed([Failure(path, row, "read", type(error).__name__, message)])
        yield maker.last()

    def _block(self, maker: BlockMaker, path: str, group: list[bytes], first_row: int) -> Block:
        batch, errors = parse_lines(group, self.columns_schema())
        rows = np.arange(first_row, first_row + len(group))
        failures = [
            Failure(path, first_row + position, "decode", "JsonError", message, group[position])
            for position, message in errors
        ]
        rows = np.delete(rows, [position for position, _ in errors])
        return maker.block(batch, rows, failures)


def _groups(pieces: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    """Lines a block."""
    group: list[bytes] = []
    held_bytes = 0
    failure: DamagedFileError | None = None
    try:
        for line in itertools.chain.from_iterable(pieces):
            group.append(line)
            held_bytes += len(line)
            if len(group) == BLOCK_ROWS or held_bytes >= BLOCK_BYTES:
                yield group
                group, held_bytes = [], 0
    except DamagedFileError as error:
        failure = error
    if group:
        yield group
    if failure is not None:
        raise failure


def _first_lines(path: str) -> list[bytes] | None:
    sample: list[bytes] = []
    held_bytes = 0
    try:
        for line in itertools.chain.from_iterable(lines(text_chunks(path))):
            sample.append(line)
            held_bytes += len(line)
            if len(sample) == _SAMPLED_LINES or held_bytes >= _SAMPLED_BYTES:
                break
    except DamagedFileError:
        # Reading will meet it again, and account for it.
        return sample or None
    return sample
