"""TFRecord files of tf.Example: a row is a record, a column a feature."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa

from pipelines import storage
from pipelines.sinks.base import ByteStream, PartWriter, Sink
from pipelines.sources.framing import HEADER_BYTES, masked_checksum

_CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")


class TFRecordSink(Sink):
    """Writes uncompressed TFRecords; `encode_examples` says what becomes of each type.

    A tf.Example has flat lists alone: reshape tensors of higher rank when reading.
    """

    name: ClassVar[str] = "tfrecord"
    suffix: ClassVar[str] = "tfrecord"

    def refusal(self, data_type: pa.DataType) -> str | None:
        """Types that int64, float32 and bytes cannot stand for."""
        from transforms.column_types import column_spec

        spec = column_spec(pa.field("column", data_type))
        if spec.shape is None or (spec.dtype is None and not pa.types.is_null(data_type)):
            return "a tf.Example has booleans, numbers, strings, bytes and lists of them"
        if spec.dtype == "uint64":
            return "a tf.Example has int64, which cannot hold every uint64"
        return None

    def misfits(self, batch: pa.RecordBatch) -> dict[int, str]:
        """Rows with a null inside of a list."""
        from transforms.example_encoding import inner_nulls

        misfits: dict[int, str] = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            misfits = inner_nulls(name, column) | misfits
        return misfits

    def open(self, stream: ByteStream, schema: pa.Schema) -> PartWriter:
        """Starts a part; one without rows is an empty file."""
        return _TFRecordWriter(stream)

    def count_rows(self, path: str) -> int:
        """Goes from header to header; a file that was cut short has too few."""
        size = storage.size_bytes(path) or 0
        rows = 0
        with storage.open_to_read(path) as file:
            while len(header := file.read(HEADER_BYTES)) == HEADER_BYTES:
                stop = file.tell() + _LENGTH.unpack_from(header)[0] + _CHECKSUM.size
                if stop > size:
                    break
                file.seek(stop)
                rows += 1
        return rows


class _TFRecordWriter(PartWriter):
    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def write(self, batch: pa.RecordBatch) -> None:
        from transforms.example_encoding import encode_examples

        self._stream.write(framed(encode_examples(batch)))

    def finish(self) -> None:
        self._stream.flush()


def framed(records: Sequence[bytes]) -> bytes:
    """Records as a TFRecord file has them, each with its length and masked checksums."""
    pieces = []
    for record in records:
        pieces += [_header(len(record)), record, _CHECKSUM.pack(masked_checksum(record))]
    return b"".join(pieces)


@functools.lru_cache(maxsize=4096)
def _header(length: int) -> bytes:
    packed = _LENGTH.pack(length)
    return packed + _CHECKSUM.pack(masked_checksum(packed))
