"""Reads what a job wrote, with readers that are not ours."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]


def read_rows(folder: Path, suffix: str = "parquet") -> Rows:
    """Every row of a job's parts, in the order of parts and rows."""
    read = {
        "parquet": _read_parquet,
        "tfrecord": _read_tfrecord,
        "jsonl": _read_jsonl,
        "csv": _read_csv,
    }[suffix]
    parts = sorted(folder.glob(f"part-*.{suffix}"))
    return [row for part in parts for row in read(part)]


def read_failed(folder: Path) -> Rows:
    """Every failed row of a job."""
    parts = sorted((folder / "_mirrorbeam" / "failed").glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def read_report(folder: Path) -> dict[str, Any]:
    """The job's report."""
    return dict(json.loads((folder / "_mirrorbeam" / "report.json").read_text()))


def column(rows: Rows, name: str) -> np.ndarray:
    """One column of some rows, as an array."""
    return np.array([row[name] for row in rows])


def _read_parquet(path: Path) -> Rows:
    return list(pq.read_table(path).to_pylist())


def _read_jsonl(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _read_csv(path: Path) -> Rows:
    with path.open(newline="") as file:
        return [
            {name: json.loads(text) if text[:1] == "[" else text for name, text in row.items()}
            for row in csv.DictReader(file)
        ]


def _read_tfrecord(path: Path) -> Rows:
    import tensorflow as tf

    rows = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        row: dict[str, Any] = {}
        for name, feature in features.items():
            values = list(getattr(feature, feature.WhichOneof("kind")).value)
            row[name] = values[0] if len(values) == 1 else values
        rows.append(row)
    return rows
