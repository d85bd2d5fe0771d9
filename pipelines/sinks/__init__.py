"""Output formats, one file each; none is imported before it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.sinks.base import Sink

_CLASSES = {
    "parquet": "ParquetSink",
    "tfrecord": "TFRecordSink",
    "jsonl": "JsonLinesSink",
    "csv": "CsvSink",
}
SINK_NAMES = tuple(_CLASSES)


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
