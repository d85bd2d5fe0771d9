"""TFRecord files, plain, gzip or zlib: a row is a record, a column a feature of tf.Example."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import BinaryIO, ClassVar

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.sources.base import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    BlockMaker,
    InputError,
    ReadRequest,
    Source,
    SourcePlan,
    own_columns,
)
from pipelines.sources.framing import HEADER_BYTES, Framed, framed, record_length, regrouped
from pipelines.sources.sampling import sample_files
from pipelines.sources.streams import (
    DamagedFileError,
    gzip_or_zlib,
    inflated,
    stored_chunks,
)
from pipelines.splits import InputFile, Split, whole_files
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


class TFRecordSource(Source):
    """Reads TFRecords of tf.Examples, or of anything that a model with one string input takes.

    Files are told apart by content: compression needs no suffix and no flag. A record whose
    bytes are damaged is one failure and reading goes on behind it; where the framing itself is
    damaged, the rest of the file is one failure.
    """

    name: ClassVar[str] = "tfrecord"
    suffixes: ClassVar[tuple[str, ...]] = (".tfrecord", ".tfrecords", ".tfrec")
    row_unit: ClassVar[str] = "record"
    record_column: ClassVar[str | None] = "record"

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """One split a file; the columns are the features that some first records have."""
        splits = whole_files(files)
        samples = sample_files(files, _first_records)
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
        """Reads a file from its first record to its last, in blocks."""
        path = split.files[0]
        features = self._features()
        decoder = ExampleDecoder(features) if features else None
        maker = BlockMaker(split, self.columns_schema())
        row = split.first_row
        try:
            for group in regrouped(_frames(path), BLOCK_ROWS, BLOCK_BYTES):
                yield self._block(maker, path, group, row, decoder)
                row += len(group.records)
        except DamagedFileError as error:
            message = f"the rest of the file cannot be read: {error}"
            yield maker.failed([Failure(path, row, "read", type(error).__name__, message)])
        yield maker.last()

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
        first_row: int,
        decoder: ExampleDecoder | None,
    ) -> Block:
        records = group.records
        rows = np.arange(first_row, first_row + len(records))
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
            columns[self.record_column or ""] = pa.array(records, pa.large_binary())
        schema = self.columns_schema()
        arrays = [columns[name] for name in schema.names]
        good = pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else None
        return maker.block(good, rows, sorted(failures, key=lambda failure: failure.row or 0))


def _frames(path: str) -> Iterator[Framed]:
    with contextlib.closing(storage.open_to_read(path)) as handle:
        head = handle.read(HEADER_BYTES)
        handle.seek(0)
        window_bits = gzip_or_zlib(head)
        # A plain file may begin like a compressed one, but then its first header is sound.
        if window_bits is not None and record_length(head) is None:
            yield from framed(inflated(stored_chunks(handle), window_bits))
        else:
            yield from framed(stored_chunks(handle), _size_bytes(handle))


def _first_records(path: str) -> list[bytes] | None:
    try:
        group = next(regrouped(_frames(path), _SAMPLED_RECORDS, _SAMPLED_BYTES), None)
    except DamagedFileError as error:
        _LOG.warning("no record can be read from %s: %s", path, error)
        return None
    if group is None:
        return []
    return _without(np.arange(len(group.records)), group.records, group.damaged)[1]


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


def _size_bytes(handle: BinaryIO) -> int:
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    return size
