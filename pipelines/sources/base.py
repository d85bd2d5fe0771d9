"""What every input format does: plan the splits of some files, and read one split."""

from __future__ import annotations

import abc
import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.errors import CommandError
from pipelines.sources.blocks import PROVENANCE_FIELDS
from pipelines.sources.origins import Origin
from pipelines.splits import InputFile, Split
from transforms.block import Block
from transforms.engine.signature import TensorField

# A block is at most so large: small enough to be one of several in flight.
BLOCK_ROWS = 16384
BLOCK_BYTES = 8 * 2**20

_Self = TypeVar("_Self", bound="Source")


class InputError(CommandError):
    """The input cannot be read as it was asked for."""


@dataclasses.dataclass(frozen=True)
class SourcePlan:
    """How an input is read.

    Attributes:
      splits: the units of work, in the order of files and rows.
      schema: the columns that the source can give, without `_source` and `_row`. Without any
        where no row was found to tell them (then `rows` is 0 or None).
      rows: all rows, where they are known without reading them.
    """

    splits: tuple[Split, ...]
    schema: pa.Schema
    rows: int | None = None

    @property
    def row_unit(self) -> str | None:
        """What `_row` counts in these splits; None for what it counts in the source's files."""
        return "byte" if any(split.byte_rows for split in self.splits) else None


@dataclasses.dataclass(frozen=True)
class ReadRequest:
    """What a worker has to read.

    Attributes:
      schema: as planned.
      fed: the columns that are fed, each with the dtype and shape of what it feeds, or None
        where it is fed as it is stored.
      kept: the columns that only go with the predictions.
      raw: also give each record as it is stored, in the source's `record_column`; the other
        columns are decoded beside it.
      channels: of decoded images: 1, 3 or 4.
      image_size: height and width that images are resized to before anything looks at them;
        None where they are seen in their own size.
    """

    schema: pa.Schema
    fed: Mapping[str, TensorField | None] = dataclasses.field(default_factory=dict)
    kept: tuple[str, ...] = ()
    raw: bool = False
    channels: int = 3
    image_size: tuple[int, int] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns to read, each once."""
        return tuple(dict.fromkeys([*self.fed, *self.kept]))


@dataclasses.dataclass(frozen=True)
class Source(abc.ABC):
    """One input format. Instances travel to the workers, so they pickle.

    What is in a file decides about its rows: a damaged row is a failure of its own, and the
    rest of a file that cannot be read is one failure, or as many as the format counts rows
    there. A file that cannot be reached at all is an error of the job, which trying again
    may cure.

    Attributes:
      name: its name in `--input_format`.
      suffixes: what its files end with, in lower case, before a suffix of compression.
      content_tells: whether a file of another format gives no row, whatever its name.
      decodes_records: whether `decode` gives rows of records that lie elsewhere.
      request: what to read; None until the plan has been matched with a model.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    content_tells: ClassVar[bool] = False
    decodes_records: ClassVar[bool] = False

    request: ReadRequest | None = dataclasses.field(default=None, kw_only=True)

    @classmethod  # noqa: B027 most formats have no flags
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Declares the format's own flags; most have none."""

    @classmethod
    def from_args(cls: type[_Self], flags: argparse.Namespace) -> _Self:
        """The source that the flags ask for."""
        return cls()

    @property
    def row_unit(self) -> str:
        """What `_row` counts, where no file is cut into byte ranges."""
        return "row"

    @property
    def record_column(self) -> str | None:
        """The column of stored records, for formats that can give them."""
        return None

    @property
    def named_only(self) -> tuple[str, ...]:
        """Columns that cost much to have, and are read only where a command names them."""
        return ()

    @property
    def gives_images(self) -> bool:
        """Whether its rows are decoded image files."""
        return False

    @abc.abstractmethod
    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """Decides, on the driver, what is one split and which columns there are.

        Args:
          files: all files of the input, sorted; may be empty.
          split_bytes: how many bytes a split should have, about.

        Raises:
          InputError: nothing can be read from the files.
        """

    def marked(self, splits: Sequence[Split], files: Sequence[InputFile]) -> tuple[Split, ...]:
        """Planned splits that know their file's size and time, so that a changed one is noticed."""
        by_path = {file.path: file for file in files}
        known = [by_path[split.files[0]] for split in splits]
        return tuple(
            dataclasses.replace(split, file_bytes=file.size_bytes, modified_ns=file.modified_ns)
            for split, file in zip(splits, known, strict=True)
        )

    def prepared(self: _Self, request: ReadRequest) -> _Self:
        """The source as the workers need it."""
        return dataclasses.replace(self, request=request)

    @property
    def wanted(self) -> ReadRequest:
        """The request of a prepared source."""
        if self.request is None:
            raise ValueError("expected a source from prepared(). Received: one without a request.")
        return self.request

    def columns_schema(self) -> pa.Schema:
        """The columns of a prepared source's blocks, without `_source` and `_row`.

        Types can differ from the planned ones where what is fed asks for others.
        """
        request = self.wanted
        return pa.schema([request.schema.field(name) for name in request.columns])

    def block_schema(self) -> pa.Schema:
        """The columns of a prepared source's blocks."""
        return pa.schema([*self.columns_schema(), *PROVENANCE_FIELDS])

    @abc.abstractmethod
    def read(self, split: Split) -> Iterator[Block]:
        """Reads one split, on a worker.

        Yields:
          Blocks of rows in order, with their failures. The last one says how many rows the
          split has, failed ones included; a split without rows is one block without rows.

        Raises:
          OSError: a file cannot be reached.
        """

    def origin(self, split: Split) -> Origin | None:
        """What a table of the split's failed rows says of where they are from."""
        path = split.files[0]
        of_one_file = self.row_unit != "file"
        return Origin(
            format=self.name,
            row_unit="byte" if split.byte_rows else self.row_unit,
            schema=self.described_columns(),
            written=self.written_as(path),
            split=split if of_one_file else None,
            size_bytes=storage.size_bytes(path) if of_one_file else None,
            others=self.unread_columns(),
        )

    def described_columns(self) -> pa.Schema:
        """A prepared source's columns, without the one of stored records."""
        columns = self.columns_schema()
        if not self.wanted.raw:
            return columns
        return pa.schema([field for field in columns if field.name != self.record_column])

    def unread_columns(self) -> pa.Schema:
        """The columns that a prepared source could give and that nobody asked for."""
        request = self.wanted
        return pa.schema([field for field in request.schema if field.name not in request.columns])

    def written_as(self, path: str) -> dict[str, Any]:
        """How a file is written, as plain values: what its records alone do not tell."""
        return {}

    def as_written(self: _Self, facts: Mapping[str, Any]) -> _Self:
        """The source for files of which another said this in `written_as`.

        Raises:
          InputError: no source says that.
        """
        return self

    def retyped(self, schema: pa.Schema) -> pa.Schema:
        """Columns as they were read, of other types where the command's flags say so."""
        return schema

    def decode(self, path: str, rows: np.ndarray, records: Sequence[bytes]) -> Block:
        """Rows of single records of a file, by a prepared source.

        Args:
          path: the file.
          rows: their places in it, int64.
          records: the bytes of each.
        """
        raise NotImplementedError(f"{self.name} has no records of their own")

    def narrowed(self, split: Split, row: int) -> Split:
        """The part of a split to read for one of its rows, and those behind it."""
        return split
