"""What every output format does: say what it can hold, write a part, count one."""

from __future__ import annotations

import abc
import argparse
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from transforms.block import ROW_COLUMN, SOURCE_COLUMN


class SinkError(ValueError):
    """A format cannot hold a column; the message says expected, received, what to do."""


class ByteStream(Protocol):
    """What a part is written to: it takes bytes-like objects and never seeks."""

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""

    def write(self, data: Any, /) -> Any:
        """Takes all of `data`."""

    def flush(self) -> None:
        """Passes on what it holds."""


class PartWriter(abc.ABC):
    """Writes the rows of one part to a stream that it does not own."""

    @abc.abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows; the columns are those of the schema it was opened with."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Writes what is buffered and what ends a file; the stream stays open."""


class Sink(abc.ABC):
    """One output format. Instances travel to the workers, so they pickle.

    Attributes:
      name: its name in `--output_format`.
      suffix: what part files end with, without the dot.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]

    @classmethod  # noqa: B027
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Declares the format's own flags; most have none."""

    @classmethod
    def from_args(cls, flags: argparse.Namespace) -> Sink:
        """The sink that the flags ask for."""
        return cls()

    def bounded(self, part_bytes: int) -> Sink:
        """The sink with at most so many bytes buffered per open part; most buffer nothing."""
        return self

    def check_schema(self, schema: pa.Schema) -> None:
        """Refuses, before the run, columns that the format cannot hold.

        Raises:
          SinkError: names the column and the reason.
        """
        for name in schema.names:
            if schema.names.count(name) > 1:
                raise SinkError(
                    f"expected output columns with names of their own. Received: {name!r} "
                    f"{schema.names.count(name)} times. Leave the input's out with --keep.")
        for field in plain_schema(schema):
            reason = self.refusal(field.type)
            if reason is not None:
                raise SinkError(
                    f"expected columns that {self.name} can hold. Received: column "
                    f"{field.name!r} as {field.type}: {reason.rstrip('.')}. Leave it out with "
                    "--keep, or choose another --output_format.")

    @abc.abstractmethod
    def refusal(self, data_type: pa.DataType) -> str | None:
        """Why the format cannot hold columns of a (plain) type; None where it can."""

    def misfits(self, batch: pa.RecordBatch) -> dict[int, str]:
        """Rows with a value that the format cannot hold, and why; most hold all of a type.

        Args:
          batch: columns that `check_schema` takes.
        """
        return {}

    @abc.abstractmethod
    def open(self, stream: ByteStream, schema: pa.Schema) -> PartWriter:
        """Starts a part with the given columns; a part without rows is valid too."""

    @abc.abstractmethod
    def count_rows(self, path: str) -> int:
        """How many rows a finished part holds, from the file itself.

        Raises:
          ValueError: it is no file of this format.
        """


def arranged(batch: pa.RecordBatch, provenance: bool) -> pa.RecordBatch:
    """The batch with `_source` and `_row` last, or without them."""
    return batch.select(_arrangement(batch.schema, provenance))


def arranged_schema(schema: pa.Schema, provenance: bool) -> pa.Schema:
    """The schema that `arranged` gives batches of `schema`."""
    fields = [schema.field(index) for index in _arrangement(schema, provenance)]
    return pa.schema(fields, schema.metadata)


def _arrangement(schema: pa.Schema, provenance: bool) -> list[int]:
    own = [schema.get_field_index(name) for name in (SOURCE_COLUMN, ROW_COLUMN)]
    rest = [index for index in range(len(schema)) if index not in own]
    return rest + [index for index in own if index >= 0] if provenance else rest


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """The type without dictionaries, extensions and string views, at any depth.

    It is what files of every format hold: the values, not how Arrow keeps them in memory.
    """
    if isinstance(data_type, pa.BaseExtensionType):
        return plain_type(data_type.storage_type)
    if pa.types.is_dictionary(data_type):
        return plain_type(data_type.value_type)
    if data_type == pa.string_view():
        return pa.large_string()
    if data_type == pa.binary_view():
        return pa.large_binary()
    if pa.types.is_struct(data_type):
        return pa.struct([plain_field(field) for field in data_type])
    if pa.types.is_map(data_type):
        return pa.map_(plain_type(data_type.key_type), plain_field(data_type.item_field))
    if pa.types.is_fixed_size_list(data_type):
        return pa.list_(plain_field(data_type.value_field), data_type.list_size)
    if pa.types.is_large_list(data_type):
        return pa.large_list(plain_field(data_type.value_field))
    if pa.types.is_list(data_type):
        return pa.list_(plain_field(data_type.value_field))
    return data_type


def plain_field(field: pa.Field) -> pa.Field:
    """The field with its plain type."""
    return field.with_type(plain_type(field.type))


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with plain types, and the metadata of its fields."""
    return pa.schema([plain_field(field) for field in schema], schema.metadata)


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with plain types; columns that have one already are not copied."""
    schema = plain_schema(batch.schema)
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
