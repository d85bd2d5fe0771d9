"""Small plans and blocks that the tests of committing and finishing share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipelines.fingerprint import FINGERPRINT_PARTS, fingerprint
from pipelines.plan import JobPlan
from pipelines.splits import Split
from transforms.block import Block
from transforms.failures import Failure

INPUT_SCHEMA = pa.schema([("x", pa.int64()), ("name", pa.string())])
SCHEMA = pa.schema([
    ("name", pa.string()), ("y", pa.float32()), ("_source", pa.string()), ("_row", pa.int64())])


def plan(splits: int = 1, **changes: Any) -> JobPlan:
    """A plan of so many splits of one file each."""
    values: dict[str, Any] = {
        "splits": tuple(split(index) for index in range(splits)),
        "row_unit": "row",
        "columns": {"x": "int64"},
        "output_format": "parquet",
        "fingerprint": fingerprint(dict.fromkeys(FINGERPRINT_PARTS)),
        "arguments": {"model": "m.keras"},
        "max_failed_fraction": 0.01,
        "started_at": 1_700_000_000.0,
    }
    return JobPlan(**(values | changes))


def split(index: int) -> Split:
    """The split of a file of its own."""
    return Split(index, (f"/in/{index}.csv",))


def batch(rows: Sequence[int], source: str = "/in/0.csv") -> pa.RecordBatch:
    """Predictions y = row / 2 of some rows."""
    return pa.record_batch([
        pa.array([f"n{row}" for row in rows], pa.string()),
        pa.array([row / 2 for row in rows], pa.float32()),
        pa.array([source] * len(rows), pa.string()),
        pa.array(rows, pa.int64()),
    ], schema=SCHEMA)


def failure(row: int, data: Any = None, stage: str = "infer", error: str = "E") -> Failure:
    """A failed row of the first file."""
    return Failure("/in/0.csv", row, stage, error, f"row {row} failed", data)


def block(
    index: int,
    rows: Sequence[int],
    failed: Sequence[Failure] = (),
    total: int | None = None,
    run_info: dict[str, Any] | None = None,
) -> Block:
    """A block of a split; with `total`, its last one."""
    where = split(index)
    return Block(batch(rows, where.files[0]), tuple(failed), where, total, run_info)
