"""Input formats, one file each; none is imported before it is asked for."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.sources.base import InputError as InputError
    from pipelines.sources.base import ReadRequest as ReadRequest
    from pipelines.sources.base import Source as Source
    from pipelines.sources.base import SourcePlan as SourcePlan
    from pipelines.splits import InputFile

_CLASSES = {
    "tfrecord": "TFRecordSource",
    "parquet": "ParquetSource",
    "images": "ImagesSource",
    "csv": "CsvSource",
    "jsonl": "JsonLinesSource",
}
SOURCE_NAMES = tuple(_CLASSES)

_BASE_NAMES = ("InputError", "ReadRequest", "Source", "SourcePlan")

__all__ = [
    "SOURCE_NAMES",
    "InputError",
    "ReadRequest",
    "Source",
    "SourcePlan",
    "source_class",
    "source_of",
]


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


def __getattr__(name: str) -> Any:
    if name in _BASE_NAMES:
        return getattr(importlib.import_module("pipelines.sources.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
