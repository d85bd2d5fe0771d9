"""Sound files of every format, each of four rows, from which cases make damaged ones."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from tests.pipelines.sources.frames import frames
from transforms.engine.signature import Signature, TensorField

ROWS = 4
SUFFIXES = {
    "tfrecord": ".tfrecord",
    "parquet": ".parquet",
    "images": ".png",
    "csv": ".csv",
    "jsonl": ".jsonl",
}
SIGNATURES = {
    name: Signature("keras", (TensorField("x", "float32", (3,)),))
    for name in ("tfrecord", "parquet", "jsonl")
} | {
    "csv": Signature("keras", (TensorField("x", "float32", ()),)),
    "images": Signature("keras", (TensorField("pixels", "float32", (8, 8, 3)),)),
}


def rows() -> list[dict[str, Any]]:
    """What the files hold: a vector that is fed, and two columns that are kept."""
    return [{"x": [r, r + 0.5, -r], "n": r, "text": f"é{r}"} for r in range(ROWS)]


def example(**features: Any) -> bytes:
    """A tf.Example of lists of floats, ints, strings or bytes; None for a feature without kind."""
    columns = {
        name: pa.array([values], pa.large_list(_leaf(values))) for name, values in features.items()
    }
    [encoded] = RecordBatchToExamplesEncoder().encode(pa.record_batch(columns))
    return encoded


def _leaf(values: Sequence[Any] | None) -> pa.DataType:
    first = values[0] if values else 0.0
    if isinstance(first, (str, bytes)):
        return pa.large_binary()
    return pa.int64() if isinstance(first, int) else pa.float32()


def examples() -> list[bytes]:
    """The rows as tf.Examples."""
    return [
        example(x=list(map(float, row["x"])), n=[row["n"]], text=[row["text"]]) for row in rows()
    ]


def table(changes: dict[str, pa.Array] | None = None) -> pa.Table:
    """The rows as a table, some columns exchanged."""
    columns = {
        "x": pa.array([row["x"] for row in rows()], pa.list_(pa.float32())),
        "n": pa.array([row["n"] for row in rows()], pa.int64()),
        "text": pa.array([row["text"] for row in rows()], pa.string()),
    }
    return pa.table(columns | (changes or {}))


def parquet(content: pa.Table, **options: Any) -> bytes:
    """A table as the bytes of a Parquet file, with a checksum for each page."""
    sink = io.BytesIO()
    pq.write_table(content, sink, **({"write_page_checksum": True} | options))
    return sink.getvalue()


def csv_text(
    values: Sequence[Sequence[Any]] | None = None, header: Sequence[str] = ("x", "n", "text")
) -> bytes:
    """Rows as CSV; x is a single number there."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([[r + 0.5, r, f"é{r}"] for r in range(ROWS)] if values is None else values)
    return text.getvalue().encode()


def json_lines(changes: dict[int, Any] | None = None) -> bytes:
    """The rows as JSON lines; some exchanged, text as it is."""
    lines: list[Any] = [dict(row) for row in rows()]
    for index, line in (changes or {}).items():
        lines[index] = line if isinstance(line, (str, bytes)) else lines[index] | line
    return b"".join(_line(line) + b"\n" for line in lines)


def _line(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode()


def image(width: int = 9, height: int = 7, kind: str = "PNG") -> bytes:
    """A file of one image."""
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_sound(name: str, path: Path) -> None:
    """Writes a sound file of a format; of images, one row."""
    contents = {
        "tfrecord": lambda: frames(examples()),
        "parquet": lambda: parquet(table()),
        "images": image,
        "csv": csv_text,
        "jsonl": json_lines,
    }
    path.write_bytes(contents[name]())
