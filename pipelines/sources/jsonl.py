"""JSON lines: a row is a line that holds an object, a column one of its members."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipelines.sources.base import BLOCK_BYTES, BLOCK_ROWS, InputError, Source, SourcePlan
from pipelines.sources.blocks import BlockMaker
from pipelines.sources.byte_ranges import cut_files
from pipelines.sources.column_names import own_columns
from pipelines.sources.json_rows import MAX_DEPTH, infer_schema, load_objects, parse_lines
from pipelines.sources.record_limits import (
    DEFAULT_MAX_RECORD_BYTES,
    RECORD_SIZE_ERROR,
    add_record_limit,
    too_long,
)
from pipelines.sources.sampling import sample_files
from pipelines.sources.streams import CHUNK_BYTES, DamagedFileError
from pipelines.sources.text_streams import (
    Lines,
    behind_line_end,
    can_cut,
    lines,
    text_chunks,
    without_mark,
)
from pipelines.sources.text_values import as_fed
from pipelines.splits import InputFile, Split
from transforms.block import Block
from transforms.failures import Failure

_SAMPLED_LINES = 10_000
_SAMPLED_BYTES = 2 * 2**20


@dataclasses.dataclass(frozen=True)
class JsonLinesSource(Source):
    """Reads JSON lines, plain or gzipped; large plain files in ranges of bytes.

    A line belongs to the range that it starts in. One that is no object, or whose members have
    other types than planned, is a failure of its own; a missing member is null, an unknown one
    is passed over. Blank lines are not counted.

    Attributes:
      max_record_bytes: a longer line is a failure of its own.
    """

    name: ClassVar[str] = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".jsonlines")
    decodes_records: ClassVar[bool] = True

    max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES

    @classmethod
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Declares how long a line may be."""
        add_record_limit(parser)

    @classmethod
    def from_args(cls, flags: argparse.Namespace) -> JsonLinesSource:
        """The source that the flags ask for."""
        return cls(flags.max_record_bytes or DEFAULT_MAX_RECORD_BYTES)

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """Cuts large files; the columns are the members that some first lines have."""
        splits = cut_files(files, split_bytes, can_cut)
        samples = sample_files(files, self._first_lines)
        if samples.is_empty:
            return SourcePlan(splits, pa.schema([]), rows=0)
        objects = load_objects(itertools.chain.from_iterable(samples.by_path.values()))
        path = next(iter(samples.by_path), files[0].path)
        if not any(objects):
            raise InputError(
                f"expected a JSON object on each line, with members at most {MAX_DEPTH} deep. "
                f"Received: none on the first lines of {path}. Check the file, or pass another "
                "--input_format."
            )
        return SourcePlan(splits, own_columns(infer_schema(objects), path))

    def columns_schema(self) -> pa.Schema:
        """The columns with types that suit what they feed."""
        request = self.wanted
        return pa.schema(
            [as_fed(request.schema.field(name), request.fed.get(name)) for name in request.columns]
        )

    def read(self, split: Split) -> Iterator[Block]:
        """Reads the lines that start in a split, in order, in blocks."""
        path = split.files[0]
        maker = BlockMaker(split, self.columns_schema())
        row = split.first_row
        try:
            for group in _groups(_split_lines(split, self.max_record_bytes)):
                count = len(group.texts)
                rows = group.starts if split.byte_rows else np.arange(row, row + count)
                yield self._block(maker, path, group.texts, rows)
                row = int(rows[-1]) + (len(group.texts[-1]) if split.byte_rows else 0) + 1
        except DamagedFileError as error:
            message = f"the rest of the file cannot be read: {error}"
            yield maker.failed([Failure(path, row, "read", type(error).__name__, message)])
        yield maker.last()

    def decode(self, path: str, rows: np.ndarray, records: Sequence[bytes]) -> Block:
        """Rows of single lines."""
        # An empty line stands for one that is too long.
        most = self.max_record_bytes
        texts = [b"" if len(record) > most else record.strip() or b"null" for record in records]
        maker = BlockMaker(Split(0, (path,)), self.columns_schema())
        return self._block(maker, path, texts, rows)

    def _block(self, maker: BlockMaker, path: str, texts: list[bytes], rows: np.ndarray) -> Block:
        failures = []
        if b"" in texts:
            message = too_long("a line", self.max_record_bytes)
            failures = [
                Failure(path, int(row), "read", RECORD_SIZE_ERROR, message)
                for row, text in zip(rows, texts, strict=True)
                if not text
            ]
            rows = rows[[bool(text) for text in texts]]
            texts = [text for text in texts if text]
        batch, errors = parse_lines(texts, self.columns_schema())
        failures += [
            Failure(path, int(rows[position]), "decode", "JsonError", message, texts[position])
            for position, message in errors
        ]
        rows = np.delete(rows, [position for position, _ in errors])
        return maker.block(batch, rows, sorted(failures, key=lambda failure: failure.row or 0))

    def _first_lines(self, path: str) -> list[bytes] | None:
        sample: list[bytes] = []
        held_bytes = 0
        try:
            chunk_bytes = min(CHUNK_BYTES, self.max_record_bytes)
            start, chunks = without_mark(text_chunks(path, chunk_bytes=chunk_bytes))
            for piece in lines(chunks, start, None, self.max_record_bytes):
                for line in piece.texts:
                    sample.append(line)
                    held_bytes += len(line)
                    if len(sample) == _SAMPLED_LINES or held_bytes >= _SAMPLED_BYTES:
                        return sample
        except DamagedFileError:
            # Reading will meet it again, and account for it.
            return sample or None
        return sample


def _split_lines(split: Split, max_line_bytes: int) -> Iterator[Lines]:
    path, start, stop = split.files[0], split.start, split.stop
    # The byte before tells whether a line starts with the split.
    first = max(0, start - 1)
    chunks = text_chunks(path, first, stop, min(CHUNK_BYTES, max_line_bytes))
    if start:
        start, chunks = behind_line_end(chunks, first, stop)
    else:
        start, chunks = without_mark(chunks)
        # The first line is the first split's, however long the mark before it.
        stop = None if stop is None else max(stop, start + 1)
    return lines(chunks, start, stop, max_line_bytes)


def _groups(pieces: Iterator[Lines]) -> Iterator[Lines]:
    """Lines a block."""
    texts: list[bytes] = []
    starts: list[int] = []
    held_bytes = 0
    failure: DamagedFileError | None = None
    try:
        for piece in pieces:
            for text, start in zip(piece.texts, piece.starts.tolist(), strict=True):
                texts.append(text)
                starts.append(start)
                held_bytes += len(text)
                if len(texts) == BLOCK_ROWS or held_bytes >= BLOCK_BYTES:
                    yield Lines(texts, np.array(starts))
                    texts, starts, held_bytes = [], [], 0
    except DamagedFileError as error:
        failure = error
    if texts:
        yield Lines(texts, np.array(starts))
    if failure is not None:
        raise failure
