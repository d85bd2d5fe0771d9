"""Tables of failed rows as an input: each row as it would have come from its own source."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipelines.sources.base import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    BlockMaker,
    InputError,
    ReadRequest,
    Source,
    SourcePlan,
    is_failed_table,
)
from pipelines.sources.casting import Misfit
from pipelines.sources.failed_images import image_files
from pipelines.sources.images import IMAGE_SCHEMA, ImagesSource, require_decoders
from pipelines.sources.origins import Origin
from pipelines.sources.parquet import (
    ParquetSource,
    Rows,
    file_refusal,
    fitted,
    misfit_message,
    read_footer,
    read_footers,
    read_pieces,
)
from pipelines.sources.source_rows import SourceRows
from pipelines.sources.table_rows import (
    RECORD_COLUMN,
    FailedRow,
    Kind,
    failed_rows,
    kinds_of_rows,
    runs,
    why_absent,
)
from pipelines.splits import InputFile, Split
from transforms.block import ROW_COLUMN, SOURCE_COLUMN, Block
from transforms.failures import Failure
from transforms.matching import RESERVED_COLUMNS


@dataclasses.dataclass(frozen=True)
class FailedTablesSource(Source):
    """Reads tables of failed rows.

    A row's own columns are taken as they stand. Where there are none, what is in `record` is
    decoded as the format has it that the row came from; and where that is empty too, the row is
    read from its source. `_source` and `_row` stay what they were.

    Attributes:
      inner: the source of the rows' own format, with what the command's flags say of it.
      unit: what `_row` counts.
      tables_only: columns that the tables have and their sources do not.
      rereads: whether sources are read.
    """

    name: ClassVar[str] = "failed rows"
    suffixes: ClassVar[tuple[str, ...]] = ParquetSource.suffixes

    inner: Source
    unit: str = "row"
    tables_only: tuple[str, ...] = ()
    rereads: bool = True

    @property
    def row_unit(self) -> str:
        """What the rows' own sources count."""
        return self.unit

    @property
    def record_column(self) -> str | None:
        """That of the rows' own format."""
        return self.inner.record_column

    @property
    def gives_images(self) -> bool:
        """Whether the rows' own format is that of images."""
        return self.inner.gives_images

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """Cuts the tables as Parquet is cut; the first says which columns were read.

        Raises:
          InputError: not all are failed rows, of one format and unit.
        """
        if self.gives_images:
            require_decoders()
        plan = ParquetSource().plan(files, split_bytes)
        origins: dict[str, Origin | None] = {}
        for path, footer in read_footers(files, split_bytes).items():
            origins[path] = _origin(footer.metadata, path)
            self._check(origins[path], path)
        if self.gives_images:
            return dataclasses.replace(plan, schema=IMAGE_SCHEMA)
        schema = _planned(plan.schema, next(iter(origins.values())))
        return dataclasses.replace(plan, schema=self.inner.retyped(schema))

    def prepared(self, request: ReadRequest) -> FailedTablesSource:
        """The source as the workers need it, with the rows' own prepared in it."""
        added = self.tables_only
        inner = dataclasses.replace(
            request,
            fed={name: field for name, field in request.fed.items() if name not in added},
            kept=tuple(name for name in request.kept if name not in added),
        )
        return dataclasses.replace(self, request=request, inner=self.inner.prepared(inner))

    def columns_schema(self) -> pa.Schema:
        """The columns as the rows' own source gives them, then those of the tables alone."""
        added = [name for name in self.wanted.columns if name in self.tables_only]
        return pa.schema(
            [*self.inner.columns_schema(), *(self.wanted.schema.field(name) for name in added)]
        )

    def origin(self, split: Split) -> Origin | None:
        """That of the table: what fails again is still from there."""
        origin = self._origin_of(split.files[0])
        if origin is None:
            return None
        return dataclasses.replace(origin, schema=self.described_columns())

    def read(self, split: Split) -> Iterator[Block]:
        """Reads a table's rows in order, in blocks."""
        path = split.files[0]
        pieces = read_pieces(split, pa.schema([]), others=True)
        origin = self._origin_of(path)
        if isinstance(self.inner, ImagesSource):
            channels = self.inner.wanted.channels
            files = image_files(pieces, path, origin, channels, self.rereads)
            yield from self.inner.blocks(split, files)
            return
        gathered = _Gathered(BlockMaker(split, self.columns_schema()), self.block_schema())
        with contextlib.closing(_TableReader(self, origin, path)) as reader:
            for piece in pieces:
                for found in reader.found(piece) if isinstance(piece, Rows) else piece:
                    gathered.add(found)
                    if gathered.is_full:
                        yield gathered.block()
        yield gathered.block()
        yield gathered.last()

    def _origin_of(self, path: str) -> Origin | None:
        footer = read_footer(InputFile(path, 0))
        origin = None if footer is None else _origin(footer.metadata, path)
        if footer is not None:
            self._check(origin, path)
        return origin

    def _check(self, origin: Origin | None, path: str) -> None:
        mine = (self.inner.name, self.unit)
        its = ("parquet", "row") if origin is None else (origin.format, origin.row_unit)
        if mine != its:
            raise InputError(
                f"expected failed rows of {mine[0]}, counted by {mine[1]}, as in the first "
                f"table. Received: {its[0]}, counted by {its[1]}, in {path}. Score them apart."
            )


def failed_tables(
    files: Sequence[InputFile], flags: argparse.Namespace
) -> FailedTablesSource | None:
    """The source for Parquet files; None if the first is no table of failed rows.

    Raises:
      InputError: the table is one of another release's, or of an unknown format.
    """
    from pipelines.sources import SOURCE_NAMES, source_class

    for file in files:
        footer = read_footer(file)
        if footer is None:
            continue
        stored = footer.schema.to_arrow_schema()
        if not is_failed_table(stored.names):
            return None
        origin = _origin(footer.metadata, file.path)
        if origin is None:
            return FailedTablesSource(ParquetSource(), rereads=flags.reread == "on")
        if origin.format not in SOURCE_NAMES:
            raise InputError(
                f"expected failed rows of {', '.join(SOURCE_NAMES)}. Received: {origin.format!r} "
                f"in {file.path}. Score them with the release that wrote them."
            )
        inner = source_class(origin.format).from_args(flags)
        known = {*origin.schema.names, *RESERVED_COLUMNS, RECORD_COLUMN}
        added = tuple(name for name in stored.names if name not in known)
        return FailedTablesSource(inner, origin.row_unit, added, flags.reread == "on")
    return None


def _origin(metadata: Mapping[bytes, bytes] | None, path: str) -> Origin | None:
    try:
        return Origin.from_metadata(metadata)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _planned(stored: pa.Schema, origin: Origin | None) -> pa.Schema:
    """The columns to choose from: as they were read where tables still hold them so."""
    if origin is None:
        return stored
    fields = []
    for field in stored:
        if field.name in origin.schema.names:
            then = origin.schema.field(field.name)
            fields.append(then if file_refusal(stored, _stored_form(then)) is None else field)
        elif field.name != RECORD_COLUMN:
            fields.append(field)
    return pa.schema(fields)


def _stored_form(field: pa.Field) -> pa.Schema:
    kind = field.type
    return pa.schema([field.with_type(getattr(kind, "storage_type", kind))])


class _TableReader:
    """Finds the rows of one table, wherever they are."""

    def __init__(self, tables: FailedTablesSource, origin: Origin | None, path: str) -> None:
        self._source = tables.inner if origin is None else tables.inner.as_written(origin.written)
        self._schema = tables.columns_schema()
        self._raw = tables.wanted.raw
        self._rereads = tables.rereads
        self._origin = origin
        self._path = path
        self._there: tuple[str, SourceRows] | None = None

    def found(self, rows: Rows) -> Iterator[pa.RecordBatch | Failure]:
        """Rows, with `_source` and `_row`, and failures, in order."""
        batch = rows.batch
        said = failed_rows(rows, self._path)
        decodes = self._source.decodes_records and self._origin is not None
        kinds = kinds_of_rows(batch, said, self._origin, decodes=decodes, raw=self._raw)
        for kind, start, stop in runs(kinds, said):
            some = said[start:stop]
            if kind is Kind.STORED:
                yield from self._stored(batch.slice(start, stop - start), some)
            elif kind is Kind.RECORD and self._knows_how(some[0]):
                records = batch.column(RECORD_COLUMN).slice(start, stop - start).to_pylist()
                yield from self._decoded(some, records)
            else:
                yield from map(self._reread, some)

    def close(self) -> None:
        """Closes the source that is being read."""
        if self._there is not None:
            self._there[1].close()

    def _knows_how(self, row: FailedRow) -> bool:
        """Whether the table says how a row's file is written."""
        assert self._origin is not None
        split = self._origin.split
        return not self._origin.written or (split is not None and row.source in split.files)

    def _stored(
        self, batch: pa.RecordBatch, said: Sequence[FailedRow]
    ) -> Iterator[pa.RecordBatch | Failure]:
        for field in self._schema:
            problem = file_refusal(batch.schema, _stored_form(field))
            if problem is not None:
                yield from (Failure(row.source, row.row, "read", *problem) for row in said)
                return
        columns: list[pa.Array] = []
        misfits: dict[int, str] = {}
        for field in self._schema:
            column, found = _in_form(batch.column(field.name), field.type)
            columns.append(column)
            for misfit in found:
                misfits.setdefault(misfit.row, misfit_message(field, misfit))
        good = _with_places(columns, self._schema, said)
        for at, message in sorted(misfits.items()):
            row = said[at]
            yield Failure(row.source, row.row, "decode", "ArrowInvalid", message)
        if misfits:
            good = good.filter(pa.array([at not in misfits for at in range(len(said))]))
        yield good

    def _decoded(
        self, said: Sequence[FailedRow], records: Sequence[bytes]
    ) -> Iterator[pa.RecordBatch | Failure]:
        rows = np.array([row.row for row in said], np.int64)
        block = self._source.decode(said[0].source or "", rows, records)
        yield from block.failures
        yield self._completed(block.batch)

    def _reread(self, row: FailedRow) -> pa.RecordBatch | Failure:
        failure = why_absent(row, self._origin, self._rereads)
        if failure is not None:
            return failure
        assert self._origin is not None
        path = row.source or ""
        if self._there is None or self._there[0] != path:
            self.close()
            self._there = path, SourceRows(self._source, self._origin, path)
        found = self._there[1].find(row.row or 0)
        return found if isinstance(found, Failure) else self._completed(found)

    def _completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the source with nulls for what only tables have."""
        names = batch.schema.names
        arrays = [
            batch.column(field.name)
            if field.name in names
            else pa.nulls(batch.num_rows, field.type)
            for field in self._schema
        ]
        places = [batch.column(name) for name in (SOURCE_COLUMN, ROW_COLUMN)]
        return pa.RecordBatch.from_arrays(
            [*arrays, *places], [*self._schema.names, SOURCE_COLUMN, ROW_COLUMN]
        )


def _in_form(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[Misfit]]:
    if isinstance(kind, pa.BaseExtensionType):
        storage, misfits = fitted(column, kind.storage_type)
        return pa.ExtensionArray.from_storage(kind, storage), misfits
    return fitted(column, kind)


def _with_places(
    columns: Sequence[pa.Array], schema: pa.Schema, said: Sequence[FailedRow]
) -> pa.RecordBatch:
    places = [
        pa.array([row.source for row in said], pa.string()),
        pa.array([row.row for row in said], pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(
        [*columns, *places], [*schema.names, SOURCE_COLUMN, ROW_COLUMN]
    )


class _Gathered:
    """Rows and failures on their way into blocks."""

    def __init__(self, maker: BlockMaker, schema: pa.Schema) -> None:
        self._maker = maker
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self._failures: list[Failure] = []
        self._rows = self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self._rows >= BLOCK_ROWS or self._bytes >= BLOCK_BYTES

    def add(self, found: pa.RecordBatch | Failure) -> None:
        if isinstance(found, Failure):
            self._failures.append(found)
            self._rows += 1
            return
        self._batches.append(pa.RecordBatch.from_arrays(found.columns, schema=self._schema))
        self._rows += found.num_rows
        self._bytes += found.nbytes

    def block(self) -> Block:
        whole = pa.Table.from_batches(self._batches, self._schema).combine_chunks().to_batches()
        failures, self._failures = self._failures, []
        self._batches, self._rows, self._bytes = [], 0, 0
        if not whole:
            return self._maker.failed(failures)
        (batch,) = whole
        columns = batch.select(batch.schema.names[:-2])
        rows = batch.column(ROW_COLUMN).to_numpy()
        return self._maker.block(columns, rows, failures, batch.column(SOURCE_COLUMN))

    def last(self) -> Block:
        return self._maker.last()
