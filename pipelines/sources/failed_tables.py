"""Tables of failed rows as an input: each row as it would have come from its own source."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa

from pipelines.failed_rows import RECORD_COLUMN
from pipelines.sources.base import InputError, ReadRequest, Source, SourcePlan
from pipelines.sources.blocks import BlockMaker
from pipelines.sources.column_names import is_failed_table
from pipelines.sources.failed_images import image_files
from pipelines.sources.gathered_rows import GatheredRows
from pipelines.sources.images import IMAGE_SCHEMA, ImagesSource, require_decoders
from pipelines.sources.origins import Origin
from pipelines.sources.parquet import ParquetSource, read_footer, read_footers
from pipelines.sources.parquet_rows import Rows, file_refusal, read_pieces
from pipelines.sources.table_reader import TableReader, stored_form
from pipelines.sources.table_rows import columns_of_rows
from pipelines.splits import InputFile, Split
from transforms.block import Block
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
      sources_only: columns that the sources have and the tables do not: where one is asked for,
        its value is read from there, and the others are taken from the table.
      rereads: whether sources are read.
    """

    name: ClassVar[str] = "failed rows"
    suffixes: ClassVar[tuple[str, ...]] = ParquetSource.suffixes

    inner: Source
    unit: str = "row"
    tables_only: tuple[str, ...] = ()
    sources_only: tuple[str, ...] = ()
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
    def named_only(self) -> tuple[str, ...]:
        """What would be read from the sources of all rows."""
        return self.sources_only

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
        read = [
            field for field in self.described_columns() if field.name not in self.tables_only]
        names = {field.name for field in read}
        others = [field for field in (*origin.schema, *origin.others) if field.name not in names]
        return dataclasses.replace(origin, schema=pa.schema(read), others=pa.schema(others))

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
        source = self.inner if origin is None else self.inner.as_written(origin.written)
        reader = TableReader(
            source, origin, path, self.columns_schema(), self.wanted.raw, self.rereads
        )
        maker = BlockMaker(split, self.columns_schema())
        gathered = GatheredRows(maker, self.block_schema())
        with contextlib.closing(reader):
            for piece in pieces:
                for found in reader.found(piece) if isinstance(piece, Rows) else piece:
                    gathered.add(found)
                    if gathered.is_full:
                        yield gathered.block()
        yield gathered.block()
        yield maker.last()

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
        own = {*origin.schema.names, *origin.others.names}
        known = {*own, *RESERVED_COLUMNS, RECORD_COLUMN}
        return FailedTablesSource(
            inner,
            origin.row_unit,
            tables_only=tuple(name for name in stored.names if name not in known),
            sources_only=tuple(sorted(own - set(columns_of_rows(stored.names, origin)))),
            rereads=flags.reread == "on",
        )
    return None


def _origin(metadata: Mapping[bytes, bytes] | None, path: str) -> Origin | None:
    try:
        return Origin.from_metadata(metadata)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _planned(stored: pa.Schema, origin: Origin | None) -> pa.Schema:
    """The columns to choose from: as they were read where tables still hold them so.

    Behind them come those that only the sources have.
    """
    if origin is None:
        return stored
    own = pa.schema([*origin.schema, *origin.others])
    there = columns_of_rows(stored.names, origin)
    fields = []
    for field in map(stored.field, there):
        if field.name in own.names:
            then = own.field(field.name)
            fields.append(then if file_refusal(stored, stored_form(then)) is None else field)
        else:
            fields.append(field)
    return pa.schema([*fields, *(field for field in own if field.name not in there)])
