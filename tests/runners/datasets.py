"""A small dataset and model, and what scoring them must give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.keras_models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import Rows, column, read_report, read_rows

FILES = 8
ROWS_OF_A_FILE = 1000
ROWS = FILES * ROWS_OF_A_FILE

# A pause inside the step, which makes a job long enough to be disturbed.
SLOW = """\
import time
import tensorflow as tf

def pause(features):
    def wait(values):
        time.sleep(0.2)
        return values
    same = tf.numpy_function(wait, [features], features.dtype)
    return tf.cast(tf.ensure_shape(same, features.shape), tf.float32)
"""


def make_dataset(folder: Path) -> Any:
    """Writes `in/*.parquet`, `mlp.keras` and `slow.py`; gives the model as a plain function."""
    rng = np.random.default_rng(7)
    for file in range(FILES):
        columns = {
            "features": rng.normal(size=(ROWS_OF_A_FILE, 8)).astype(np.float32),
            "id": np.arange(ROWS_OF_A_FILE) + file * ROWS_OF_A_FILE,
        }
        write_parquet(folder / "in" / f"{file}.parquet", columns, row_group_rows=100)
    (folder / "slow.py").write_text(SLOW)
    return mlp_keras(folder)[1]


def sorted_rows(output: Path) -> Rows:
    """All rows of a finished job, ordered by where they came from."""
    assert (output / "_SUCCESS").is_file()
    return sorted(read_rows(output), key=lambda row: (row["_source"], row["_row"]))


def assert_same_rows(rows: Rows, expected: Rows) -> None:
    """Each row once, and the same in both: predictions but for rounding."""
    keys = [(row["_source"], row["_row"], row["id"]) for row in rows]
    assert keys == [(row["_source"], row["_row"], row["id"]) for row in expected]
    assert len(set(keys)) == len(keys) == ROWS
    np.testing.assert_allclose(
        column(rows, "scores"), column(expected, "scores"), rtol=1e-5, atol=1e-6
    )


def workers_of(output: Path) -> dict[int, dict[str, Any]]:
    """What the report says of each process that committed a split."""
    workers = read_report(output)["workers"]
    return {int(worker["process"].rpartition(":")[2]): worker for worker in workers}
