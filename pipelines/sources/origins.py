"""Where failed rows are from: what their table says of it, in its own metadata.

With it a table, or a copy of it, can be scored again by itself: records are decoded as their
format has it, and rows without a copy are read from their source.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipelines.splits import Split

METADATA_KEY = b"mirrorbeam.origin"
_VERSION = 1
_UNITS = ("row", "record", "file", "byte")
_MISFITS = (
    KeyError, TypeError, AttributeError, ValueError, RecursionError, pa.ArrowException,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the failed rows of one split are from.

    Attributes:
      format: name of their source.
      row_unit: what `_row` counts, or `byte`.
      schema: the columns that were read.
      written: how the file is written, as the format tells it.
      split: what was read; None where each row is a file.
      size_bytes: of the split's file when its first row failed; None where that is not known.
      others: the columns that the source has and that were not read.
    """

    format: str
    row_unit: str
    schema: pa.Schema
    written: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split: Split | None = None
    size_bytes: int | None = None
    others: pa.Schema = dataclasses.field(default_factory=lambda: pa.schema([]))

    def to_metadata(self) -> dict[bytes, bytes]:
        """Metadata for the schema of a table."""
        values = {
            "version": _VERSION,
            "format": self.format,
            "row_unit": self.row_unit,
            "schema": _as_text(self.schema),
            "others": _as_text(self.others),
            "written": dict(self.written),
            "split": self.split and self.split.to_json(),
            "size_bytes": self.size_bytes,
        }
        return {METADATA_KEY: json.dumps(values, ensure_ascii=False).encode()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> Origin | None:
        """The inverse of `to_metadata`; None where the metadata say nothing.

        Raises:
          ValueError: they say something else.
        """
        text = (metadata or {}).get(METADATA_KEY)
        if text is None:
            return None
        try:
            values = json.loads(text)
            if values["version"] != _VERSION:
                raise ValueError(f"version {values['version']}")
            schema, others = _as_schema(values["schema"]), _as_schema(values["others"])
            split = values["split"] and Split.from_json(values["split"])
            size = values["size_bytes"]
            origin = cls(
                values["format"], values["row_unit"], schema, values["written"], split, size,
                others)
        except _MISFITS as error:
            raise ValueError(
                f"expected failed rows that say where they are from, in version {_VERSION}. "
                f"Received: {error!r}. Use the release that wrote them."
            ) from error
        if not (isinstance(origin.format, str) and origin.row_unit in _UNITS
                and isinstance(origin.written, dict) and isinstance(size, (int, type(None)))):
            raise ValueError(
                "expected failed rows that say where they are from. Received: values of other "
                "types. Score their sources.")
        return origin

    @property
    def byte_rows(self) -> bool:
        """Whether `_row` is the byte at which a record starts."""
        return self.row_unit == "byte"

    def split_with(self, path: str, row: int) -> Split:
        """What to read to come to a row: what was read then, where it has that row."""
        split = self.split
        if split is not None and split.byte_rows and split.files == (path,):
            stop = split.stop
            if split.start <= row and (stop is None or row < stop):
                return split
        return Split(0, (path,), byte_rows=self.byte_rows)


def _as_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


def _as_schema(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def no_origin(split: Split) -> Origin | None:
    """For tables that say nothing of where their rows are from."""
    return None
