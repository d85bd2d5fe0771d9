"""The rows of one table of failed rows, brought to the columns of their source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipelines.failed_rows import RECORD_COLUMN
from pipelines.sources.base import Source
from pipelines.sources.casting import Misfit
from pipelines.sources.origins import Origin
from pipelines.sources.parquet import fitted, misfit_message
from pipelines.sources.parquet_rows import Rows, file_refusal
from pipelines.sources.source_rows import SourceRows
from pipelines.sources.table_rows import (
    FailedRow,
    Kind,
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


def stored_form(field: pa.Field) -> pa.Schema:
    """A column as tables hold it, for `file_refusal`."""
    kind = field.type
    return pa.schema([field.with_type(getattr(kind, "storage_type", kind))])
