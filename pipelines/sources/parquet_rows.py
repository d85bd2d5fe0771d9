"""Rows of Parquet files as they are stored, block by block, and failures of the unreadable ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.sources.base import BLOCK_BYTES, BLOCK_ROWS
from pipelines.sources.casting import is_compatible
from pipelines.sources.timed_reads import TimedReads, each_decoded
from pipelines.splits import Split
from transforms.failures import Failure

# Row groups up to this size are fetched from remote storage in a few large reads.
_PREFETCH_BYTES = 128 * 2**20
_STREAM_BUFFER_BYTES = 2**20
_PROBED_ROWS = 64

# What is wrong inside a file comes as one of these; the last, from names in a footer.
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


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
        except DAMAGE as error:
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
            except DAMAGE as error:
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


def _open(handle: Any, remote: bool) -> pq.ParquetFile:
    footer = pq.read_metadata(handle)
    counts = [footer.row_group(index).num_rows for index in row_groups(footer)]
    if sum(counts) != footer.num_rows or min(counts, default=0) < 0:
        # No checksum protects a footer, and every row it names may become a failure.
        raise pa.ArrowInvalid("the footer's numbers of rows do not add up")
    largest = max(
        (footer.row_group(index).total_byte_size for index in row_groups(footer)),
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


def row_groups(footer: pq.FileMetaData) -> range:
    """Numbers of the row groups of a file."""
    return range(footer.num_row_groups)


def _name(error: BaseException) -> str:
    return type(error).__name__


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())
