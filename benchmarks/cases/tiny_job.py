"""Case i: a hundred rows, from the start of a process to its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.base import Case, Entry, Job, Target
from benchmarks.cases.mlp_files import INPUT, KEPT, check_files, make_model_and_rows
from benchmarks.cases.parquet_to_parquet import write_table

_ROWS = 100


def prepare(folder: Path, rows: int) -> None:
    """Writes the rows as one Parquet file."""
    features = make_model_and_rows(folder, rows)
    write_table(folder / INPUT / "rows.parquet", features, slice(0, rows))


def check(job: Job) -> None:
    """The output has the bare model's scores.

    Raises:
      ValueError: it has not.
    """
    scores = job.output / "scores.npy"
    if not scores.exists():
        check_files(job, KEPT.names)
    elif not np.allclose(np.load(scores), np.load(job.data / "expected.npy"), atol=1e-5):
        raise ValueError("expected the bare model's scores. Received: others.")


CASE = Case(
    letter="i",
    name="tiny_job",
    sentence="a hundred rows from Parquet to Parquet; `bare` is a script that imports TensorFlow "
    "and Beam, loads the model and makes one step",
    clock="everything from the start of the process to its end",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare:script", _ROWS, _ROWS),
        "mirrorbeam": Entry("mirrorbeam:process", _ROWS, _ROWS),
    },
    targets=(Target("mirrorbeam", "bare", "wall_seconds", 1.5),),
)
