"""The rows of one table of failed rows, brought to the columns of their source."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipelines.failed_rows import RECORD_COLUMN
from pipelines.sources.base import BLOCK_BYTES, Source
from pipelines.sources.casting import Misfit
from pipelines.sources.origins import Origin
from pipelines.sources.parquet import fitted, misfit_message
from pipelines.sources.parquet_rows import Rows, file_refusal
from pipelines.sources.reread_rows import Place, RereadRows
from pipelines.sources.table_rows import (
    FailedRow,
    Kind,
    columns_of_rows,
    failed_rows,
    kinds_of_rows,
    runs,
    why_absent,
)
from transforms.block import ROW_COLUMN, SOURCE_COLUMN
from transforms.failures import Failure


class TableReader:
    """Finds the rows of one table, wherever they are."""

    def __init__(
        self,
        source: Source,
        origin: Origin | None,
        path: str,
        schema: pa.Schema,
        raw: bool,
        rereads: bool,
    ) -> None:
        """Takes the table and how its rows are wanted.

        Args:
          source: of the rows' own format, prepared.
          origin: what the table says of it.
          path: the table's.
          schema: the columns wanted.
          raw: whether records are wanted as they are.
          rereads: whether sources are read.
        """
        self._source = source
        self._schema = schema
        self._raw = raw
        self._rereads = rereads
        self._origin = origin
        self._path = path
        self._again: dict[tuple[str, ...], RereadRows] = {}

    def found(self, rows: Rows) -> Iterator[pa.RecordBatch | Failure]:
        """Rows, with `_source` and `_row`, and failures, in order."""
        batch = rows.batch
        said = failed_rows(rows, self._path)
        decodes = self._source.decodes_records and self._origin is not None
        kinds = kinds_of_rows(batch, said, self._origin, decodes=decodes, raw=self._raw)
        kinds = [
            Kind.ABSENT if kind is Kind.RECORD and not self._knows_how(row) else kind
            for kind, row in zip(kinds, said, strict=True)
        ]
        lacking = self._lacking(batch.schema)
        absent = self._reread([at for at, kind in zip(said, kinds, strict=True)
                               if kind is Kind.ABSENT])
        stored = [row for row, kind in zip(said, kinds, strict=True) if kind is Kind.STORED]
        more = self._reread(stored, lacking)
        for kind, start, stop in runs(kinds, said):
            some = said[start:stop]
            if kind is Kind.RECORD:
                records = batch.column(RECORD_COLUMN).slice(start, stop - start).to_pylist()
                yield from self._decoded(some, records)
            elif kind is Kind.ABSENT:
                for found in itertools.islice(absent, stop - start):
                    yield found if isinstance(found, Failure) else self._completed(found)
            elif lacking:
                yield from self._joined(batch.slice(start, stop - start), some, more)
            else:
                yield from self._stored(batch.slice(start, stop - start), some)

    def close(self) -> None:
        """Closes the sources that are being read."""
        for rows in self._again.values():
            rows.close()

    def _lacking(self, stored: pa.Schema) -> list[str]:
        """The columns wanted that the table does not have, and its source does."""
        if self._origin is None:
            return []
        own = {*self._origin.schema.names, *self._origin.others.names}
        there = columns_of_rows(stored.names, self._origin)
        return [name for name in self._schema.names if name in own and name not in there]

    def _knows_how(self, row: FailedRow) -> bool:
        """Whether the table says how a row's file is written."""
        assert self._origin is not None
        split = self._origin.split
        return not self._origin.written or (split is not None and row.source in split.files)

    def _stored(
        self, batch: pa.RecordBatch, said: Sequence[FailedRow]
    ) -> Iterator[pa.RecordBatch | Failure]:
        for field in self._schema:
            problem = file_refusal(batch.schema, stored_form(field))
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

    def _reread(
        self, said: Sequence[FailedRow], lacking: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch | Failure]:
        """Rows from their sources, one by one; where columns are named, with these alone."""
        refused = [
            why_absent(row, self._origin, self._rereads, *lacking[:1]) for row in said
        ]
        places = [
            Place(row.source or "", row.row or 0)
            for row, failure in zip(said, refused, strict=True)
            if failure is None
        ]
        again = self._rereading(lacking).found(places) if places else iter(())
        for failure in refused:
            found = next(again) if failure is None else failure
            if failure is None and lacking and isinstance(found, Failure):
                message = f"the table has no column {lacking[0]!r}, which was {found.message}"
                found = found._replace(message=message)
            yield found

    def _rereading(self, lacking: Sequence[str]) -> RereadRows:
        assert self._origin is not None
        names = tuple(lacking)
        if names not in self._again:
            source, wanted = self._source, self._source.wanted
            if names:
                source = source.prepared(dataclasses.replace(
                    wanted,
                    fed={name: field for name, field in wanted.fed.items() if name in names},
                    kept=tuple(name for name in wanted.kept if name in names),
                ))  # fmt: skip
            self._again[names] = RereadRows(source, self._origin)
        return self._again[names]

    def _joined(
        self,
        batch: pa.RecordBatch,
        said: Sequence[FailedRow],
        more: Iterator[pa.RecordBatch | Failure],
    ) -> Iterator[pa.RecordBatch | Failure]:
        """Rows of the table with the columns that only their source has."""
        start = 0
        while start < len(said):
            parts: list[pa.RecordBatch] = []
            good: list[int] = []
            held_bytes, at = 0, start
            while at < len(said) and held_bytes < BLOCK_BYTES:
                found = next(more)
                if isinstance(found, Failure):
                    yield found
                else:
                    parts.append(found)
                    good.append(at)
                    held_bytes += found.nbytes
                at += 1
            start = at
            if parts:
                columns = pa.Table.from_batches(parts).combine_chunks()
                others = [name for name in batch.schema.names if name not in columns.column_names]
                stored = batch.select(others).take(pa.array(good))
                for name in set(columns.column_names) & set(self._schema.names):
                    column = columns.column(name).combine_chunks()
                    if isinstance(column, pa.ExtensionArray):
                        column = column.storage
                    stored = stored.append_column(name, column)
                yield from self._stored(stored, [said[row] for row in good])

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


def stored_form(field: pa.Field) -> pa.Schema:
    """A column as tables hold it, for `file_refusal`."""
    kind = field.type
    return pa.schema([field.with_type(getattr(kind, "storage_type", kind))])
