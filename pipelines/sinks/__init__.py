"""Output formats, one file each; none is imported before it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.sinks.base import PartWriter as PartWriter
    from pipelines.sinks.base import Sink as Sink
    from pipelines.sinks.base import SinkError as SinkError

_CLASSES = {
    "parquet": "ParquetSink",
    "tfrecord": "TFRecordSink",
    "jsonl": "JsonLinesSink",
    "csv": "CsvSink",
}
SINK_NAMES = tuple(_CLASSES)

__all__ = ["SINK_NAMES", "PartWriter", "Sink", "SinkError", "sink_class"]


def sink_class(name: str) -> type[Sink]:
    """The sink of an `--output_format`.

    Raises:
      KeyError: there is none of this name in `SINK_NAMES`.
    """
    if name not in _CLASSES:
        raise KeyError(f"expected one of {', '.join(SINK_NAMES)}. Received: {name}")
    module = importlib.import_module(f"pipelines.sinks.{name}")
    found: type[Sink] = getattr(module, _CLASSES[name])
    return found


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("pipelines.sinks.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
