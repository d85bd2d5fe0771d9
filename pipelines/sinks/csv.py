"""CSV with a header; lists, structs and maps are JSON text in their cell."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from pipelines import storage
from pipelines.sinks.base import ByteStream, PartWriter, Sink, plain_batch, plain_schema
from pipelines.sinks.json_text import is_text, json_refusal, json_text, text_of_bytes


class CsvSink(Sink):
    """Writes CSV as RFC 4180 has it: commas, strings in quotes, null as an empty cell.

    NaN and infinities are `nan`, `inf` and `-inf`; inside a JSON cell they are null. Bytes
    that are no UTF-8 are `{"b64": "…"}`.
    """

    name: ClassVar[str] = "csv"
    suffix: ClassVar[str] = "csv"

    def refusal(self, data_type: pa.DataType) -> str | None:
        """Only types without a text form, such as calendar intervals and unions."""
        return json_refusal(data_type)

    def open(self, stream: ByteStream, schema: pa.Schema) -> PartWriter:
        """Starts a part with its header."""
        return _CsvWriter(stream, _cell_schema(plain_schema(schema)))

    def count_rows(self, path: str) -> int:
        """Parses the file: cells may hold line breaks."""
        import pyarrow.csv

        with storage.open_to_read(path) as file:
            header = file.readline()
            if not header:
                return 0
            file.seek(0)
            reader = pyarrow.csv.open_csv(
                file,
                parse_options=pyarrow.csv.ParseOptions(
                    newlines_in_values=True, ignore_empty_lines=False),
                convert_options=pyarrow.csv.ConvertOptions(include_columns=[]))
            return sum(batch.num_rows for batch in reader)


class _CsvWriter(PartWriter):
    def __init__(self, stream: ByteStream, schema: pa.Schema) -> None:
        import pyarrow.csv

        self._schema = schema
        self._writer = pyarrow.csv.CSVWriter(stream, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        plain = plain_batch(batch)
        cells = [
            _cells(column, field.type)
            for column, field in zip(plain.columns, self._schema, strict=True)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(cells, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()


def _cell_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_type(_cell_type(field.type)) for field in schema])


def _cell_type(data_type: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_nested(data_type) or is_text(data_type) else data_type


def _cells(column: pa.Array, cell_type: pa.DataType) -> pa.Array:
    if pa.types.is_nested(column.type):
        import pyarrow.compute as pc

        return pc.if_else(column.is_valid(), json_text(column), pa.scalar(None, pa.string()))
    return text_of_bytes(column) if is_text(column.type) else column.cast(cell_type)
