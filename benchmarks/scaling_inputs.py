"""Inputs and outputs of large jobs, made in seconds: tiny files, and sparse ones."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan

SPLIT_BYTES = 64 * 2**20
FEATURES = 32
# What a planner samples of a file must be there; the rest may be a hole.
_WRITTEN_BYTES = 2**22
_SPLITS_A_FILE = 1000
_FILES_A_FOLDER = 10_000
_PROCESSES = 64

_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8"
    "cfc000000301010018dd8db00000000049454e44ae426082"
)


def table(rows: int) -> pa.Table:
    """`rows` rows of an int64 `id` and `x`, float32[32]: 136 bytes each."""
    values = np.random.default_rng(0).normal(size=(rows, FEATURES)).astype(np.float32)
    x = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), FEATURES)
    return pa.table({"id": np.arange(rows), "x": x})


def small_files(folder: Path, count: int, suffix: str, content: bytes) -> None:
    """So many equal files, ten thousand in a folder."""
    for first in range(0, count, _FILES_A_FOLDER):
        below = folder / f"{first // _FILES_A_FOLDER:05d}"
        below.mkdir(parents=True)
        for index in range(first, min(first + _FILES_A_FOLDER, count)):
            (below / f"{index:08d}{suffix}").write_bytes(content)


def parquet_files(folder: Path, count: int) -> None:
    """So many Parquet files of ten rows."""
    folder.mkdir(parents=True)
    one = folder.parent / "one.parquet"
    pq.write_table(table(10), one)
    small_files(folder, count, ".parquet", one.read_bytes())


def jsonl_files(folder: Path, count: int) -> None:
    """So many files of one JSON line."""
    small_files(folder, count, ".jsonl", b'{"id": 1, "x": [0.5, 1.5, 2.5]}\n')


def image_files(folder: Path, count: int) -> None:
    """So many PNG files of one pixel."""
    small_files(folder, count, ".png", _PNG)


def row_group_files(folder: Path, count: int) -> None:
    """So many row groups of one row, a thousand a file; `split_bytes` of 1 makes each a split."""
    folder.mkdir(parents=True)
    rows = table(_SPLITS_A_FILE)
    for index in range(count // _SPLITS_A_FILE):
        pq.write_table(rows, folder / f"{index:05d}.parquet", row_group_size=1)


def byte_range_files(folder: Path, count: int) -> None:
    """TFRecord files of a thousand splits each, of which only the start is not a hole."""
    import tensorflow as tf

    folder.mkdir(parents=True)
    values = np.zeros(FEATURES, np.float32)
    feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=values))}
    example = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    first = folder / "00000.tfrecord"
    with tf.io.TFRecordWriter(str(first)) as writer:
        for _ in range(_WRITTEN_BYTES // len(example)):
            writer.write(example)
    start = first.read_bytes()
    for index in range(count // _SPLITS_A_FILE):
        path = folder / f"{index:05d}.tfrecord"
        path.write_bytes(start)
        os.truncate(path, _SPLITS_A_FILE * SPLIT_BYTES)


# By name: what makes the input, its source, bytes a split.
INPUTS: dict[str, tuple[Callable[[Path, int], None], str, int]] = {
    "jsonl_files": (jsonl_files, "jsonl", SPLIT_BYTES),
    "parquet_files": (parquet_files, "parquet", SPLIT_BYTES),
    "parquet_row_groups": (row_group_files, "parquet", 1),
    "tfrecord_byte_ranges": (byte_range_files, "tfrecord", SPLIT_BYTES),
    "image_files": (image_files, "images", SPLIT_BYTES),
}


def committed(plan: JobPlan, folder: OutputFolder) -> None:
    """What a job leaves before it is finished: a part and a record of every split.

    Parts are all of one content. Records say what those of real jobs say, by 64 processes.
    """
    rows = 10
    example = Path(folder.path).parent / "part.parquet"
    pq.write_table(table(rows), example)
    content = example.read_bytes()
    promise = {
        "rows": rows,
        "attempt": "0" * 32,
        "bytes": len(content),
        "crc32c": f"{google_crc32c.value(content):08x}",
    }
    first = plan.splits[0].name
    for path in (folder.part(first, "parquet"), folder.commit(first)):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    for split, process in zip(plan.splits, itertools.cycle(range(_PROCESSES)), strict=False):
        Path(folder.part(split.name, "parquet")).write_bytes(content)
        ended_at = plan.started_at + split.index
        record = {
            "split": split.name,
            "attempt": promise["attempt"],
            "rows_in": rows,
            "predicted": rows,
            "failed": 0,
            "failures": {},
            "part": promise,
            "failed_part": None,
            "started_at": plan.started_at,
            "ended_at": ended_at,
            "seconds": 1.0,
            "run": _run(process, split.index),
        }
        Path(folder.commit(split.name)).write_text(json.dumps(record, indent=1))


def _run(process: int, batches: int) -> dict[str, Any]:
    return {
        "process": f"host-{process}:1:{'0' * 32}",
        "devices": ["/device:GPU:0", "/device:GPU:1"],
        "batches": {str(2**size): batches for size in range(5, 13)},
        "ready_at": 1_700_000_000.0,
        "model_rows_per_second": 1e6,
    }
