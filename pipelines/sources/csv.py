"""CSV files: a row is a record as RFC 4180 quotes it, a column a field."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines.sources.base import InputError, Source, SourcePlan
from pipelines.sources.blocks import BlockMaker
from pipelines.sources.byte_ranges import cut_files
from pipelines.sources.column_names import own_columns
from pipelines.sources.csv_apart import parse_apart
from pipelines.sources.csv_columns import csv_schema
from pipelines.sources.csv_flags import add_csv_flags, parse_delimiter
from pipelines.sources.csv_header import CsvDialect, read_header
from pipelines.sources.csv_rows import CsvReader, CsvRows, no_texts, record_text
from pipelines.sources.record_limits import (
    DEFAULT_MAX_CSV_RECORD_BYTES,
    RECORD_SIZE_ERROR,
    add_record_limit,
)
from pipelines.sources.sampling import sample_files
from pipelines.sources.streams import DamagedFileError
from pipelines.sources.text_streams import can_cut
from pipelines.sources.text_values import MIXED, TYPES, as_fed, convert
from pipelines.splits import InputFile, Split, bare_name, whole_files
from transforms.block import Block
from transforms.failures import Failure

# Each is what a chunk of a file holds.
_SAMPLED_PARTS = 4


@dataclasses.dataclass(frozen=True)
class CsvSource(Source):
    """Reads CSV, plain or gzipped; large plain files in ranges of bytes.

    A record with too many or too few fields, or a value that is not of its column's type, is
    a failure of its own. Types are those of most values in the first records; a column that
    is only kept is text if not all of them fit. An empty field is null, or an empty string
    in a column of text.

    Attributes:
      delimiter: between fields; None means a tab in files named `.tsv`, else a comma.
      has_header: whether the first record names the columns.
      types: the names in `TYPES` of columns whose type is not to be guessed.
      whole_files: whether a file is one split, however large.
      max_record_bytes: a longer record is a failure of its own.
      header: the columns of records that lie elsewhere than in their file.
    """

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    decodes_records: ClassVar[bool] = True

    delimiter: str | None = None
    has_header: bool = True
    types: tuple[tuple[str, str], ...] = ()
    whole_files: bool = False
    max_record_bytes: int = DEFAULT_MAX_CSV_RECORD_BYTES
    header: tuple[str, ...] = ()

    @classmethod
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Declares how the files are written."""
        add_csv_flags(parser)
        add_record_limit(parser)

    @classmethod
    def from_args(cls, flags: argparse.Namespace) -> CsvSource:
        """The source that the flags ask for."""
        return cls(
            flags.csv_delimiter,
            not flags.csv_no_header,
            flags.csv_types,
            flags.csv_whole_files,
            flags.max_record_bytes or DEFAULT_MAX_CSV_RECORD_BYTES,
        )

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """Cuts large files; the first file names the columns."""
        splits = whole_files(files) if self.whole_files else cut_files(files, split_bytes, can_cut)
        samples = sample_files(files, self._first_rows)
        if samples.is_empty:
            return SourcePlan(splits, pa.schema([]), rows=0)
        if not samples.by_path:
            path = files[0].path
            raise InputError(
                f"expected CSV. Received: {path}, whose first record cannot be read"
                f"{self._damage(path)}. Check the files, --csv_delimiter and --csv_no_header."
            )
        path = next(iter(samples.by_path))
        texts = [batch for batches in samples.by_path.values() for batch in batches]
        schema = own_columns(csv_schema(texts, dict(self.types)), path)
        if not any(batch.num_rows for batch in texts) and len(texts) == len(files):
            # Headers alone tell no types.
            return SourcePlan(splits, pa.schema([]), rows=0)
        return SourcePlan(splits, schema)

    def columns_schema(self) -> pa.Schema:
        """The columns with types that suit what they feed, and what is only kept."""
        request = self.wanted
        fields = []
        for name in request.columns:
            field = request.schema.field(name)
            if name in request.fed:
                field = as_fed(field, request.fed[name])
            elif MIXED in (field.metadata or {}):
                field = pa.field(name, pa.string())
            fields.append(field.remove_metadata())
        return pa.schema(fields)

    def read(self, split: Split) -> Iterator[Block]:
        """Reads the records of a split, in order, in blocks.

        Raises:
          CsvBorderError: the split that follows in the same file starts within a record.
        """
        path = split.files[0]
        maker = BlockMaker(split, self.columns_schema())
        dialect = self._dialect(path)
        reader: CsvReader | None = None
        try:
            header = read_header(path, dialect)
            if header.names:
                reader = CsvReader(path, header, dialect, split)
                is_empty = not split.start and any(map(str.strip, header.names))
                for part in reader:
                    is_empty = False
                    for piece in part.blocks():
                        yield self._block(maker, path, piece)
                missing = self._missing(header.names)
                if is_empty and missing is not None:
                    # What is taken for a header may be a damaged file.
                    yield maker.failed([Failure(path, split.first_row, "read", *missing)])
        except DamagedFileError as error:
            # Of a header that cannot be read, only the split that it lies in tells.
            if reader is not None or not split.start:
                row = split.first_row if reader is None else reader.next_row
                message = f"the rest of the file cannot be read: {error}"
                yield maker.failed([Failure(path, row, "read", type(error).__name__, message)])
        yield maker.last()

    def written_as(self, path: str) -> dict[str, Any]:
        """Its delimiter and its columns."""
        dialect = self._dialect(path)
        try:
            names = read_header(path, dialect).names
        except DamagedFileError:
            # Then it has given no record.
            names = []
        return {
            "delimiter": dialect.delimiter, "has_header": self.has_header, "header": names,
        }  # fmt: skip

    def as_written(self, facts: Mapping[str, Any]) -> CsvSource:
        """The source for such files, but for what the command's flags say."""
        try:
            delimiter, header = facts["delimiter"], facts["header"]
            if not isinstance(delimiter, str) or not all(isinstance(n, str) for n in header):
                raise TypeError("expected texts")
            if len(set(header)) < len(header):
                raise TypeError("expected columns with names of their own")
            return dataclasses.replace(
                self,
                delimiter=self.delimiter or parse_delimiter(delimiter),
                has_header=self.has_header and bool(facts["has_header"]),
                header=tuple(header),
            )
        except (KeyError, TypeError, argparse.ArgumentTypeError) as error:
            raise InputError(
                f"expected a table of failed rows that says how its CSV is written. Received: "
                f"{error!r}. Score the CSV itself."
            ) from error

    def retyped(self, schema: pa.Schema) -> pa.Schema:
        """Columns as they were read, but for those in `--csv_types`."""
        given = dict(self.types)
        return pa.schema(
            [pa.field(f.name, TYPES[given[f.name]]) if f.name in given else f for f in schema]
        )

    def decode(self, path: str, rows: np.ndarray, records: Sequence[bytes]) -> Block:
        """Rows of single records."""
        dialect = self._dialect(path)
        maker = BlockMaker(Split(0, (path,)), self.columns_schema())
        if not self.header:
            message = "expected a record of a file with columns. Received: one without."
            return maker.failed([
                Failure(path, int(row), "decode", "CsvError", message, record)
                for row, record in zip(rows, records, strict=True)
            ])
        blocks = [
            self._block(maker, path, part)
            for part in parse_apart(records, rows, list(self.header), dialect)
        ]
        return Block(
            pa.concat_batches([block.batch for block in blocks]),
            tuple(failure for block in blocks for failure in block.failures),
        )

    def _dialect(self, path: str) -> CsvDialect:
        is_tsv = bare_name(path).endswith(".tsv")
        delimiter = self.delimiter or ("\t" if is_tsv else ",")
        return CsvDialect(delimiter, self.has_header, self.max_record_bytes)

    def _block(self, maker: BlockMaker, path: str, part: CsvRows) -> Block:
        failures = [
            Failure(path, row, "read", RECORD_SIZE_ERROR, message)
            if text is None
            else Failure(path, row, "decode", "CsvError", message, text)
            for row, text, message in part.bad
        ]
        schema = self.columns_schema()
        missing = self._missing(part.texts.schema.names)
        if missing is not None:
            failures += [Failure(path, int(row), "read", *missing) for row in part.rows]
            return maker.failed(sorted(failures, key=_row))
        columns: list[pa.Array] = []
        misfits: dict[int, str] = {}
        for field in schema:
            column, found = convert(part.texts.column(field.name), field.type)
            columns.append(column)
            for at, problem in found:
                misfits.setdefault(at, f"column '{field.name}' is no {field.type}: {problem}")
        batch = pa.RecordBatch.from_arrays(columns, schema=schema) if columns else None
        rows = part.rows
        if misfits and batch is not None:
            failures += [
                Failure(
                    path,
                    int(rows[at]),
                    "decode",
                    "CsvError",
                    message,
                    record_text(part.texts, at, self._dialect(path)),
                )
                for at, message in misfits.items()
            ]
            kept = np.ones(len(rows), bool)
            kept[list(misfits)] = False
            batch, rows = batch.filter(pa.array(kept)), rows[kept]
        return maker.block(batch, rows, sorted(failures, key=_row))

    def _missing(self, names: Sequence[str]) -> tuple[str, str] | None:
        """The error and the message of rows of a file that lacks a column."""
        missing = [name for name in self.columns_schema().names if name not in names]
        if not missing:
            return None
        return "KeyError", (
            f"expected column '{missing[0]}', as in the first file. Received: {', '.join(names)}."
        )

    def _first_rows(self, path: str) -> list[pa.RecordBatch] | None:
        dialect = self._dialect(path)
        try:
            header = read_header(path, dialect)
        except DamagedFileError:
            # Reading will meet it again, and account for it.
            return None
        if not header.names:
            return []
        texts = [no_texts(header.names)]
        reader = CsvReader(path, header, dialect, Split(0, (path,)))
        with contextlib.suppress(DamagedFileError):
            for part in itertools.islice(reader, _SAMPLED_PARTS):
                texts.append(part.texts)
        return pa.Table.from_batches(texts).combine_chunks().to_batches() or texts

    def _damage(self, path: str) -> str:
        try:
            read_header(path, self._dialect(path))
        except DamagedFileError as error:
            return f" ({error})"
        return ""


def _row(failure: Failure) -> int:
    return failure.row or 0
