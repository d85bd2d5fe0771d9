"""Case c: the small network from Parquet to Parquet, with four columns kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.base import AHEAD_OF_PEERS, Case, Entry, Job, Target
from benchmarks.cases.mlp_files import (
    FILES,
    INPUT,
    KEPT,
    WARM_INPUT,
    WARM_ROWS,
    check_files,
    kept_columns,
    make_model_and_rows,
    parts,
)

_GROUP_ROWS = 65536


def prepare(folder: Path, rows: int) -> None:
    """Writes the rows as `features` (lists of 32 floats) behind the kept columns."""
    features = make_model_and_rows(folder, rows)
    for part in parts(rows, -(-rows // FILES)):
        write_table(folder / INPUT / f"rows-{part.start:010d}.parquet", features, part)
    write_table(folder / WARM_INPUT / "rows.parquet", features, slice(0, WARM_ROWS))


def write_table(path: Path, features: np.ndarray, part: slice) -> None:
    """Writes some of the rows as one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(exist_ok=True)
    some = features[part]
    column = pa.FixedSizeListArray.from_arrays(some.reshape(-1), some.shape[1])
    table = kept_columns(part.start, len(some)).append_column("features", column)
    pq.write_table(table, path, row_group_size=_GROUP_ROWS)


def check(job: Job) -> None:
    """The files have every row's kept columns and the bare model's scores."""
    check_files(job, KEPT.names)


CASE = Case(
    letter="c",
    name="parquet_to_parquet",
    sentence="the same network from Parquet to Parquet, with four columns kept: an id, a text, a "
    "double and a day",
    clock="from opening the input to the finished output; the model is loaded, and a pipeline has "
    f"scored {WARM_ROWS:,} rows before. `bare` has its rows in memory",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare:arrays", 1_000_000, 4_000_000),
        "read": Entry("read:files", 1_000_000, 4_000_000),
        "mirrorbeam": Entry("mirrorbeam:files", 1_000_000, 4_000_000),
        "runinference": Entry("runinference:parquet_files", 20_000, 100_000),
        "runinference_tuned": Entry("runinference_tuned:parquet_files", 100_000, 500_000),
        "ray_data": Entry("ray_data:parquet_files", 1_000_000, 4_000_000, tree=True),
        "spark": Entry("spark:parquet_files", 500_000, 2_000_000, tree=True),
    },
    targets=(
        Target("mirrorbeam", "runinference_tuned", "rows_per_second", 10),
        *AHEAD_OF_PEERS,
    ),
    sweep_rows=(1024, 4096, 16384, 65536, 262144),
)
