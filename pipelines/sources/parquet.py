"""Parquet files: a split is a range of row groups, and only the wanted columns are read."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.sources.base import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    BlockMaker,
    InputError,
    Source,
    SourcePlan,
    is_failed_table,
    own_columns,
)
from pipelines.sources.casting import Misfit, cast_column, is_compatible, valid_text
from pipelines.sources.timed_reads import TimedReads, each_decoded
from pipelines.splits import InputFile, Split
from transforms.block import Block
from transforms.engine.stage_times import DECODE, STAGE_TIMES
from transforms.failures import Failure

_LOG = logging.getLogger(__name__)

# Of more files than that, only those are opened beforehand that may have to be cut.
_MAX_FOOTERS = 1000
_FOOTER_THREADS = 16
# Row groups up to this size are fetched from remote storage in a few large reads.
_PREFETCH_BYTES = 128 * 2**20
_STREAM_BUFFER_BYTES = 2**20
_PROBED_ROWS = 64
_MISFIT = re.compile(r"expected column '(.+?)' as ")

# What is wrong inside a file comes as one of these; the last, from names in a footer.
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


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
        schema = own_columns(footers[path].schema.to_arrow_schema().remove_metadata(), path)
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
            except _DAMAGE:
                # Reading meets it again, and says so.
                return split
        first_row = 0
        for index in _groups(footer):
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
            data = good.slice(at, 1).to_pylist()[0]
            failures.append(Failure(path, row + at, "decode", "ArrowInvalid", message, data))
        kept = np.ones(batch.num_rows, bool)
        kept[list(misfits)] = False
        return maker.block(good.filter(pa.array(kept)), rows[kept], failures)


class Rows(NamedTuple):
    """Some rows of a file, as they are stored, and the place of the first."""

    first_row: int
    batch: pa.RecordBatch


def read_pieces(
    split: Split, wanted: pa.Schema, others: bool = False
) -> Iterator[Rows | list[Failure]]:
    """Reads a split's row groups one after the other.

    Args:
      split: row groups of a file.
      wanted: the columns to read, of types that the stored ones may stand for.
      others: also read the columns that are not asked for.

    Yields:
      Rows, a block at most, and failures of those that cannot be read.

    Raises:
      OSError: the file cannot be reached.
    """
    path = split.files[0]
    with contextlib.ExitStack() as stack:
        local = storage.is_local(path)
        handle = pa.OSFile(path) if local else TimedReads(storage.open_to_read(path))
        stack.callback(handle.close)
        try:
            file = _open(handle, remote=not local)
        except _DAMAGE as error:
            message = f"the file cannot be read: {_text(error)}"
            yield [Failure(path, split.first_row, "read", "DamagedFileError", message)]
            return
        stored = file.schema_arrow
        names = list(dict.fromkeys([*wanted.names, *(stored.names if others else ())]))
        yield from _pieces(handle, file, split, names, file_refusal(stored, wanted))


def _pieces(
    handle: Any,
    file: pq.ParquetFile,
    split: Split,
    names: Sequence[str],
    refusal: tuple[str, str] | None,
) -> Iterator[Rows | list[Failure]]:
    path, row = split.files[0], split.first_row
    stop = file.num_row_groups if split.stop is None else split.stop
    block_rows = 0
    for index in range(split.start, stop):
        end = row + file.metadata.row_group(index).num_rows
        problem = refusal
        if problem is None:
            try:
                block_rows = block_rows or _block_rows(handle, file, index, names)
                batches = _batches(file, index, block_rows, names)
                for batch in each_decoded(batches, handle):
                    yield Rows(row, batch)
                    row += batch.num_rows
            except _DAMAGE as error:
                problem = (_name(error), f"the row group cannot be read: {_text(error)}")
        while row < end:
            name, message = problem or ("ArrowInvalid", "the row group ends too early")
            rows = range(row, min(row + BLOCK_ROWS, end))
            yield [Failure(path, at, "read", name, message) for at in rows]
            row = rows.stop


def _batches(
    file: pq.ParquetFile, index: int, rows: int, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """A row group's rows, so many at once, or fewer where they are larger than the first ones."""
    for batch in file.iter_batches(rows, row_groups=[index], columns=names):
        pieces = -(-batch.nbytes // (2 * BLOCK_BYTES)) or 1
        step = -(-batch.num_rows // pieces) or 1
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)


def fitted(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[Misfit]]:
    """A stored column in the type wanted, null where a value is none of it, and these rows."""
    if column.type != kind:
        return cast_column(column, kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return valid_text(column)
    return column, []


def misfit_message(field: pa.Field, misfit: Misfit) -> str:
    """Why a row fails that has a value which is none of its column's type."""
    return f"expected column '{field.name}' as {field.type}. {misfit.message}"


def misfit_column(message: str) -> str | None:
    """The column that a message of `misfit_message` names."""
    match = _MISFIT.match(message)
    return match and match[1]


def file_refusal(stored: pa.Schema, wanted: pa.Schema) -> tuple[str, str] | None:
    """Why no row of a file can be given: error and message; None if they can.

    Args:
      stored: the file's columns.
      wanted: those to read.
    """
    for field in wanted:
        if field.name not in stored.names:
            return "KeyError", (
                f"expected column '{field.name}' as {field.type}, as in the first file. "
                f"Received: a file without it."
            )
        if stored.names.count(field.name) > 1:
            return "KeyError", (
                f"expected one column '{field.name}', as in the first file. "
                f"Received: {stored.names.count(field.name)} of this name."
            )
        kind = stored.field(field.name).type
        if not is_compatible(kind, field.type):
            return "TypeError", (
                f"expected column '{field.name}' as {field.type}, as in the first file. "
                f"Received: {kind}."
            )
    return None


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
        except _DAMAGE as error:
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
    all_bytes = sum(footer.row_group(index).total_byte_size for index in _groups(footer)) or 1
    start = first_row = rows = size = 0
    for index in _groups(footer):
        group = footer.row_group(index)
        group_bytes = file.size_bytes * group.total_byte_size // all_bytes
        if index > start and size + group_bytes > split_bytes:
            yield Split(0, (file.path,), start, index, first_row, size)
            start, first_row, size = index, rows, 0
        rows += group.num_rows
        size += group_bytes
    yield Split(0, (file.path,), start, footer.num_row_groups, first_row, size)


def _open(handle: Any, remote: bool) -> pq.ParquetFile:
    footer = pq.read_metadata(handle)
    counts = [footer.row_group(index).num_rows for index in _groups(footer)]
    if sum(counts) != footer.num_rows or min(counts, default=0) < 0:
        # No checksum protects a footer, and every row it names may become a failure.
        raise pa.ArrowInvalid("the footer's numbers of rows do not add up")
    largest = max(
        (footer.row_group(index).total_byte_size for index in _groups(footer)),
        default=0,
    )
    return pq.ParquetFile(
        handle,
        metadata=footer,
        pre_buffer=remote and largest <= _PREFETCH_BYTES,
        buffer_size=_STREAM_BUFFER_BYTES,
        page_checksum_verification=True,
    )


def _block_rows(handle: Any, file: pq.ParquetFile, index: int, names: Sequence[str]) -> int:
    """How many rows of some columns make a block, by a row group's first ones.

    The footer tells encoded sizes only, and Arrow aborts the process where those of a damaged
    footer are asked for.
    """
    unbuffered = pq.ParquetFile(
        handle, metadata=file.metadata, buffer_size=_STREAM_BUFFER_BYTES,
        page_checksum_verification=True,
    )  # fmt: skip
    row_bytes = 0.0
    # One row before several: a dictionary makes large values cheap to write.
    for rows in (1, _PROBED_ROWS):
        first = next(unbuffered.iter_batches(rows, row_groups=[index], columns=names), None)
        if first is None or not first.num_rows:
            break
        row_bytes = first.nbytes / first.num_rows
        if first.nbytes > BLOCK_BYTES // _PROBED_ROWS:
            break
    return max(1, min(BLOCK_ROWS, int(BLOCK_BYTES // row_bytes))) if row_bytes else BLOCK_ROWS


def _groups(footer: pq.FileMetaData) -> range:
    return range(footer.num_row_groups)


def _name(error: BaseException) -> str:
    return type(error).__name__


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())
