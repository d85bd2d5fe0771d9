"""TFRecord files, plain, gzip or zlib: a row is a record, a column a feature of tf.Example."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.sources.base import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    InputError,
    ReadRequest,
    Source,
    SourcePlan,
)
from pipelines.sources.blocks import BlockMaker
from pipelines.sources.byte_ranges import cut_files
from pipelines.sources.column_names import own_columns
from pipelines.sources.framing import Framed, Gap, LongRecord, framed, regrouped
from pipelines.sources.record_limits import (
    DEFAULT_MAX_RECORD_BYTES,
    RECORD_SIZE_ERROR,
    add_record_limit,
    too_long,
)
from pipelines.sources.sampling import sample_files
from pipelines.sources.streams import DamagedFileError, inflated, stored_chunks
from pipelines.sources.tfrecord_frames import is_plain, split_frames, window_bits
from pipelines.splits import InputFile, Split
from transforms.block import Block
from transforms.column_types import OBSERVED_LENGTH
from transforms.examples import (
    ExampleDecoder,
    ExampleFeature,
    Kind,
    example_schema,
    infer_features,
    relax_lengths,
)
from transforms.failures import Failure

_LOG = logging.getLogger(__name__)

_KINDS: dict[pa.DataType, Kind] = {
    pa.float32(): "float",
    pa.int64(): "int",
    pa.large_binary(): "bytes",
}

_SAMPLED_RECORDS = 500
_SAMPLED_BYTES = 2 * 2**20

_CHECKSUM_MESSAGE = "expected a record whose checksum fits. Received: one whose bytes are damaged."


@dataclasses.dataclass(frozen=True)
class TFRecordSource(Source):
    """Reads TFRecords of tf.Examples, or of anything that a model with one string input takes.

    Files are told apart by content: compression needs no suffix and no flag. Large ones are
    read in ranges of bytes, if they are not compressed. A record whose bytes are damaged is one
    failure and reading goes on behind it; where the framing itself is damaged, all bytes up to
    the next record are one failure, and in a compressed file the rest of it is.

    Attributes:
      max_record_bytes: a longer record is a failure of its own.
    """

    name: ClassVar[str] = "tfrecord"
    suffixes: ClassVar[tuple[str, ...]] = (".tfrecord", ".tfrecords", ".tfrec")
    content_tells: ClassVar[bool] = True
    decodes_records: ClassVar[bool] = True

    max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES

    @property
    def row_unit(self) -> str:
        """Records are counted."""
        return "record"

    @property
    def record_column(self) -> str:
        """Whole records can be fed."""
        return "record"

    @classmethod
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Declares how long a record may be."""
        add_record_limit(parser)

    @classmethod
    def from_args(cls, flags: argparse.Namespace) -> TFRecordSource:
        """The source that the flags ask for."""
        return cls(flags.max_record_bytes or DEFAULT_MAX_RECORD_BYTES)

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """Cuts plain files at `split_bytes`; the columns are features of some first records."""
        splits = cut_files(files, split_bytes, is_plain)
        samples = sample_files(files, self._first_records)
        if samples.is_empty:
            return SourcePlan(splits, pa.schema([]), rows=0)
        records = list(itertools.chain.from_iterable(samples.by_path.values()))
        path = next(iter(samples.by_path), files[0].path)
        schema = own_columns(example_schema(infer_features(records)), path)
        if not schema.names:
            _LOG.warning(
                "no tf.Example among the first records of %s: only a model with one string "
                "input can be fed from it",
                path,
            )
        return SourcePlan(splits, schema)

    def prepared(self, request: ReadRequest) -> TFRecordSource:
        """The source as the workers need it.

        Raises:
          InputError: a kept feature has the name of the column of raw records.
        """
        if request.raw and self.record_column in request.columns:
            raise InputError(
                f"expected a kept feature whose name is not {self.record_column!r}, the column "
                f"of whole records that this model takes. Received: --keep with "
                f"{self.record_column}. Leave it out: the record has it."
            )
        return super().prepared(request)

    def columns_schema(self) -> pa.Schema:
        """The decoded features, behind `record` if records are wanted as they are."""
        decoded = list(example_schema(self._features()))
        if self.wanted.raw:
            return pa.schema([pa.field(self.record_column, pa.large_binary()), *decoded])
        return pa.schema(decoded)

    def read(self, split: Split) -> Iterator[Block]:
        """Reads the records whose frames start in the split, in blocks."""
        path = split.files[0]
        features = self._features()
        decoder = ExampleDecoder(features) if features else None
        maker = BlockMaker(split, self.columns_schema())
        row = split.first_row
        try:
            frames = split_frames(split, self.max_record_bytes)
            for group in regrouped(frames, BLOCK_ROWS, BLOCK_BYTES):
                if isinstance(group, Gap):
                    lost = group.offset if split.byte_rows else row
                    message = f"nothing can be read from here to the next record: {group.message}"
                    yield maker.failed([Failure(path, lost, "read", "DamagedFileError", message)])
                    row += 1
                    continue
                if isinstance(group, LongRecord):
                    at = group.offset if split.byte_rows else row
                    message = too_long("a record", self.max_record_bytes)
                    yield maker.failed([Failure(path, at, "read", RECORD_SIZE_ERROR, message)])
                    row = group.end if split.byte_rows else row + 1
                    continue
                count = len(group.records)
                rows = group.offsets if split.byte_rows else np.arange(row, row + count)
                yield self._block(maker, path, group, rows, decoder)
                row = group.end if split.byte_rows else row + count
        except DamagedFileError as error:
            message = f"the rest of the file cannot be read: {error}"
            yield maker.failed([Failure(path, row, "read", type(error).__name__, message)])
        yield maker.last()

    def decode(self, path: str, rows: np.ndarray, records: Sequence[bytes]) -> Block:
        """Rows of single records, whose checksums are not known any more."""
        features = self._features()
        decoder = ExampleDecoder(features) if features else None
        maker = BlockMaker(Split(0, (path,)), self.columns_schema())
        is_long = [len(record) > self.max_record_bytes for record in records]
        message = too_long("a record", self.max_record_bytes)
        failures = [
            Failure(path, int(row), "read", RECORD_SIZE_ERROR, message, record)
            for row, record, is_too_long in zip(rows, records, is_long, strict=True)
            if is_too_long
        ]
        short = [at for at, is_too_long in enumerate(is_long) if not is_too_long]
        group = Framed([records[at] for at in short], [])
        block = self._block(maker, path, group, rows[short], decoder)
        return dataclasses.replace(block, failures=(*failures, *block.failures))

    def _features(self) -> dict[str, ExampleFeature]:
        request = self.wanted
        planned = {name: _feature(request.schema.field(name)) for name in request.columns}
        fields = {name: field for name, field in request.fed.items() if field is not None}
        return relax_lengths(planned, fields)

    def _block(
        self,
        maker: BlockMaker,
        path: str,
        group: Framed,
        rows: np.ndarray,
        decoder: ExampleDecoder | None,
    ) -> Block:
        records = group.records
        failures = []
        if group.damaged:
            failures = [
                Failure(path, int(rows[position]), "read", "ChecksumError", _CHECKSUM_MESSAGE)
                for position in group.damaged
            ]
            rows, records = _without(rows, records, group.damaged)
        columns: dict[str, pa.Array] = {}
        if decoder is not None:
            batch, errors = decoder.decode(records)
            failures += [
                Failure(path, int(rows[row]), "decode", error, message, records[row])
                for row, error, message in errors
            ]
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            rows, records = _without(rows, records, [error.row for error in errors])
        if self.wanted.raw:
            columns[self.record_column] = pa.array(records, pa.large_binary())
        schema = self.columns_schema()
        arrays = [columns[name] for name in schema.names]
        good = pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else None
        return maker.block(good, rows, sorted(failures, key=lambda failure: failure.row or 0))

    def _first_records(self, path: str) -> list[bytes] | None:
        try:
            with contextlib.closing(storage.open_to_read(path)) as handle:
                bits = window_bits(handle)
                chunks = stored_chunks(handle)
                if bits is not None:
                    chunks = inflated(chunks, bits)
                frames = framed(chunks, max_record_bytes=self.max_record_bytes)
                has_some = False
                for group in regrouped(frames, _SAMPLED_RECORDS, _SAMPLED_BYTES):
                    has_some = True
                    if isinstance(group, Framed):
                        rows = np.arange(len(group.records))
                        return _without(rows, group.records, group.damaged)[1] or None
        except DamagedFileError as error:
            _LOG.warning("no record can be read from %s: %s", path, error)
            return None
        return None if has_some else []


def _without(
    rows: np.ndarray, records: list[bytes], positions: Sequence[int]
) -> tuple[np.ndarray, list[bytes]]:
    if not positions:
        return rows, records
    dropped = set(positions)
    kept = [record for index, record in enumerate(records) if index not in dropped]
    return np.delete(rows, list(positions)), kept


def _feature(field: pa.Field) -> ExampleFeature:
    """What `example_schema` made the column of."""
    if not pa.types.is_large_list(field.type):
        return ExampleFeature(_KINDS[field.type], 1)
    observed = (field.metadata or {}).get(OBSERVED_LENGTH)
    length = None if observed is None else int(observed)
    return ExampleFeature(_KINDS[field.type.value_type], length)
