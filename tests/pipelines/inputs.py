"""Writes datasets with writers that are not ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def write_parquet(
    path: Path, columns: Mapping[str, np.ndarray], row_group_rows: int | None = None
) -> Path:
    """Columns `[rows]` or `[rows, n]`, the latter as lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})
    pq.write_table(table, path, row_group_size=row_group_rows)
    return path


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    """A line for each row; text is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_records(path: Path, records: Sequence[bytes], compression: str = "") -> Path:
    """Framed records."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path


def example(**features: Any) -> bytes:
    """A serialized tf.Example; floats, ints or bytes, one or several each."""
    import tensorflow as tf

    fields = {}
    for name, value in features.items():
        values = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
        if isinstance(values[0], bytes):
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        elif isinstance(values[0], (float, np.floating)):
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        fields[name] = feature
    encoded = tf.train.Example(features=tf.train.Features(feature=fields)).SerializeToString()
    return bytes(encoded)


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """An image of `uint8[height, width, channels]`."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
    return path
