"""JSON lines: one object a row, always valid JSON; `json_text` says how types are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa

from pipelines import storage
from pipelines.sinks.base import ByteStream, PartWriter, Sink, plain_batch
from pipelines.sinks.json_text import json_lines, json_refusal

# A bool of one bit becomes six characters: Arrow's 2 GiB of text stay far away.
_SLICE_BYTES = 16 * 2**20
_CHUNK_BYTES = 4 * 2**20


class JsonLinesSink(Sink):
    """Writes UTF-8 JSON lines; a part without rows is an empty file."""

    name: ClassVar[str] = "jsonl"
    suffix: ClassVar[str] = "jsonl"

    def refusal(self, data_type: pa.DataType) -> str | None:
        """Only types without a JSON form, such as calendar intervals and unions."""
        return json_refusal(data_type)

    def open(self, stream: ByteStream, schema: pa.Schema) -> PartWriter:
        """Starts a part; the schema shows in the rows alone."""
        return _JsonLinesWriter(stream)

    def count_rows(self, path: str) -> int:
        """Counts newlines: JSON text holds none inside a row."""
        newlines = 0
        with storage.open_to_read(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                newlines += chunk.count(b"\n")
        return newlines


class _JsonLinesWriter(PartWriter):
    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def write(self, batch: pa.RecordBatch) -> None:
        for piece in slices(plain_batch(batch), _SLICE_BYTES):
            self._stream.write(json_lines(piece))

    def finish(self) -> None:
        self._stream.flush()


def slices(batch: pa.RecordBatch, slice_bytes: int) -> Iterator[pa.RecordBatch]:
    """Cuts a batch into runs of rows of about `slice_bytes`, none without a row."""
    rows = max(1, batch.num_rows * slice_bytes // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
