"""Parquet files: a split is a range of row groups, and only the wanted columns are read."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.sources.base import InputError, Source, SourcePlan
from pipelines.sources.blocks import BlockMaker
from pipelines.sources.casting import Misfit, cast_column, holds_text, valid_text, without_views
from pipelines.sources.column_names import is_failed_table, own_columns
from pipelines.sources.parquet_rows import (
    DAMAGE,
    Rows,
    file_refusal,
    read_pieces,
    row_groups,
)
from pipelines.splits import InputFile, Split
from transforms.block import Block
from transforms.elements import row_values
from transforms.engine.stage_times import DECODE, STAGE_TIMES
from transforms.failures import Failure

_LOG = logging.getLogger(__name__)

# Of more files than that, only those are opened beforehand that may have to be cut.
_MAX_FOOTERS = 1000
_FOOTER_THREADS = 16
_MISFIT = re.compile(r"expected column '(.+?)' as ")


class ParquetSource(Source):
    """Reads Parquet.

    The footer says how many rows there are: each of those that cannot be read, because
    their bytes are damaged or a column is missing or of another type than in the first file,
    is a failure. A file without a readable footer is one failure.
    """

    name: ClassVar[str] = "parquet"
    content_tells: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq", ".parq")

    @classmethod
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Declares what may be done for tables of failed rows."""
        parser.add_argument(
            "--reread",
            metavar="on|off",
            choices=("on", "off"),
            default="on",
            help="failed rows as the input: rows without a copy are read from the files that the "
            "table names; off leaves them failed (default: on)",
        )

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """Cuts files above `split_bytes` at row groups; the first file tells the columns.

        Files whose footers tell that they have others are named in a warning.
        """
        if not files:
            return SourcePlan((), pa.schema([]), rows=0)
        footers = read_footers(files, split_bytes)
        path = next((file.path for file in files if file.path in footers), None)
        if path is None:
            raise InputError(
                f"expected Parquet files. Received: none with a readable footer among "
                f"{len(files)}, the first being {files[0].path}. Check the files, or pass "
                "another --input_format."
            )
        stored = own_columns(footers[path].schema.to_arrow_schema().remove_metadata(), path)
        schema = pa.schema([field.with_type(without_views(field.type)) for field in stored])
        _refuse_mixtures(footers, path)
        _warn_of_others(footers, path, schema)
        splits: list[Split] = []
        for file in files:
            footer = footers.get(file.path)
            for split in _file_splits(file, footer, split_bytes):
                splits.append(dataclasses.replace(split, index=len(splits)))
        known = [footers[file.path].num_rows for file in files if file.path in footers]
        return SourcePlan(tuple(splits), schema, sum(known) if len(known) == len(files) else None)

    def read(self, split: Split) -> Iterator[Block]:
        """Reads row groups one after the other, in blocks."""
        path = split.files[0]
        maker = BlockMaker(split, self.columns_schema())
        for piece in read_pieces(split, self.columns_schema()):
            if isinstance(piece, Rows):
                yield self._block(piece.batch, piece.first_row, path, maker)
            else:
                yield maker.failed(piece)
        yield maker.last()

    def narrowed(self, split: Split, row: int) -> Split:
        """The row group of a row; the same split where there is none."""
        with contextlib.closing(storage.open_to_read(split.files[0])) as handle:
            try:
                footer = pq.read_metadata(handle)
            except DAMAGE:
                # Reading meets it again, and says so.
                return split
        first_row = 0
        for index in row_groups(footer):
            stop = first_row + footer.row_group(index).num_rows
            if first_row <= row < stop:
                return dataclasses.replace(split, start=index, stop=index + 1, first_row=first_row)
            first_row = stop
        return split

    @STAGE_TIMES.timed(DECODE)
    def _block(self, batch: pa.RecordBatch, row: int, path: str, maker: BlockMaker) -> Block:
        schema = self.columns_schema()
        columns: list[pa.Array] = []
        misfits: dict[int, str] = {}
        for field in schema:
            column, found = fitted(batch.column(field.name), field.type)
            columns.append(column)
            for misfit in found:
                misfits.setdefault(misfit.row, misfit_message(field, misfit))
        rows = np.arange(row, row + batch.num_rows)
        good = pa.RecordBatch.from_arrays(columns, schema=schema) if columns else None
        if not misfits or good is None:
            return maker.block(good, rows)
        failures = []
        for at, message in sorted(misfits.items()):
            data = row_values(good, at)
            failures.append(Failure(path, row + at, "decode", "ArrowInvalid", message, data))
        kept = np.ones(batch.num_rows, bool)
        kept[list(misfits)] = False
        return maker.block(good.filter(pa.array(kept)), rows[kept], failures)


def fitted(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[Misfit]]:
    """A stored column in the type wanted, null where a value is none of it, and these rows."""
    column, misfits = (column, []) if column.type == kind else cast_column(column, kind)
    if not holds_text(kind):
        return column, misfits
    # Casts from one type of strings to another look at no byte.
    column, others = valid_text(column)
    return column, sorted([*misfits, *others])


def misfit_message(field: pa.Field, misfit: Misfit) -> str:
    """Why a row fails that has a value which is none of its column's type."""
    return f"expected column '{field.name}' as {field.type}. {misfit.message}"


def misfit_column(message: str) -> str | None:
    """The column that a message of `misfit_message` names."""
    match = _MISFIT.match(message)
    return match and match[1]


def _refuse_mixtures(footers: Mapping[str, pq.FileMetaData], first: str) -> None:
    """Tables of failed rows are read by their own rules, so that others cannot be among them."""
    of_failed = {path: is_failed_table(footer.schema.names) for path, footer in footers.items()}
    other = next((path for path in of_failed if of_failed[path] != of_failed[first]), None)
    if other is not None:
        table, file = (first, other) if of_failed[first] else (other, first)
        raise InputError(
            f"expected tables of failed rows alone, or none. Received: {table}, which is one, and "
            f"{file}, which is not. Score them apart."
        )


def _warn_of_others(footers: Mapping[str, pq.FileMetaData], first: str, wanted: pa.Schema) -> None:
    others = {
        path: refusal[1]
        for path, footer in footers.items()
        if not footer.schema.equals(footers[first].schema)
        and (refusal := file_refusal(footer.schema.to_arrow_schema(), wanted)) is not None
    }
    if others:
        path, message = next(iter(others.items()))
        _LOG.warning(
            "%d of %d files have other columns than the first, %s; where these are fed or kept, "
            "all rows of such a file fail. %s: %s",
            len(others), len(footers), first, path, message,
        )  # fmt: skip


def read_footers(files: Sequence[InputFile], split_bytes: int) -> dict[str, pq.FileMetaData]:
    """The readable footers of the files that have to be known, by path.

    Args:
      files: all of the input; of very many, the first is enough and those to be cut.
      split_bytes: files above it are to be cut.
    """
    footers: dict[str, pq.FileMetaData] = {}
    rest = files
    if len(files) > _MAX_FOOTERS:
        for file in files:
            footer = read_footer(file)
            if footer is not None:
                footers[file.path] = footer
                break
        rest = [file for file in files if file.size_bytes > split_bytes]
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        for file, footer in zip(rest, pool.map(read_footer, rest), strict=True):
            if footer is not None:
                footers[file.path] = footer
    return footers


def read_footer(file: InputFile) -> pq.FileMetaData | None:
    """A file's footer; None, and a line in the log, where it has none that can be read."""
    with contextlib.closing(storage.open_to_read(file.path)) as handle:
        try:
            return pq.read_metadata(handle)
        except DAMAGE as error:
            _LOG.warning("no Parquet footer can be read from %s: %s", file.path, error)
            return None


def _file_splits(
    file: InputFile, footer: pq.FileMetaData | None, split_bytes: int
) -> Iterator[Split]:
    """The splits of a file, all with index 0."""
    if footer is None or file.size_bytes <= split_bytes or footer.num_row_groups < 2:
        yield Split(0, (file.path,), size_bytes=file.size_bytes)
        return
    # Stored sizes are those of columns; unpacked ones share the file out as well.
    all_bytes = sum(footer.row_group(index).total_byte_size for index in row_groups(footer)) or 1
    start = first_row = rows = size = 0
    for index in row_groups(footer):
        group = footer.row_group(index)
        group_bytes = file.size_bytes * group.total_byte_size // all_bytes
        if index > start and size + group_bytes > split_bytes:
            yield Split(0, (file.path,), start, index, first_row, size)
            start, first_row, size = index, rows, 0
        rows += group.num_rows
        size += group_bytes
    yield Split(0, (file.path,), start, footer.num_row_groups, first_row, size)
