"""Input formats, one file each; none is imported before it is asked for."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.sources.base import Source
    from pipelines.splits import InputFile

_CLASSES = {
    "tfrecord": "TFRecordSource",
    "parquet": "ParquetSource",
    "images": "ImagesSource",
    "csv": "CsvSource",
    "jsonl": "JsonLinesSource",
}
SOURCE_NAMES = tuple(_CLASSES)


def source_class(name: str) -> type[Source]:
    """The source of an `--input_format`.

    Raises:
      KeyError: there is none of this name in `SOURCE_NAMES`.
    """
    if name not in _CLASSES:
        raise KeyError(f"expected one of {', '.join(SOURCE_NAMES)}. Received: {name}")
    module = importlib.import_module(f"pipelines.sources.{name}")
    found: type[Source] = getattr(module, _CLASSES[name])
    return found


def source_of(name: str, files: Sequence[InputFile], flags: argparse.Namespace) -> Source:
    """The source that reads some files of a format: tables of failed rows have one of their own.

    Raises:
      InputError: they are of another release.
    """
    if name == "parquet":
        from pipelines.sources.failed_tables import failed_tables

        tables = failed_tables(files, flags)
        if tables is not None:
            return tables
    return source_class(name).from_args(flags)
