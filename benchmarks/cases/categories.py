"""Case g: 13 numbers and 26 categories, hashed and embedded by the model itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.base import AHEAD_OF_PEERS, AS_FAST_AS_ITS_PARTS, Case, Entry, Job
from benchmarks.cases.mlp_files import check_files
from benchmarks.cases.table_files import write_files

DENSE, CATEGORIES = 13, 26
_BINS, _WIDTH = 10_000, 16
_WARM_ROWS = 4096


def save_model(path: Path) -> None:
    """Saves a click model: `i1` … `i13` float32[n, 1], `c1` … `c26` string[n, 1] to `scores`."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    numbers = [keras.Input((1,), name=f"i{number}") for number in range(1, DENSE + 1)]
    categories = [
        keras.Input((1,), dtype="string", name=f"c{number}") for number in range(1, CATEGORIES + 1)
    ]
    vectors = [
        layers.Flatten()(layers.Embedding(_BINS, _WIDTH)(layers.Hashing(_BINS)(category)))
        for category in categories
    ]
    joined = layers.Concatenate()([*numbers, *vectors])
    hidden = layers.Dense(128, activation="relu")(joined)
    hidden = layers.Dense(64, activation="relu")(hidden)
    scores = layers.Dense(1, activation="sigmoid", name="scores")(hidden)
    keras.Model([*numbers, *categories], scores).save(path)


def prepare(folder: Path, rows: int) -> None:
    """Writes numbers and eight hexadecimal digits a category, few values often, beside an id."""
    save_model(folder / "model.keras")
    rng = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {
        f"i{number}": rng.lognormal(size=(rows, 1)).astype(np.float32)
        for number in range(1, DENSE + 1)
    }
    for number in range(1, CATEGORIES + 1):
        seen = rng.zipf(1.3, size=(rows, 1)) % 100_000 * 2_654_435_761 + number
        columns[f"c{number}"] = np.array(
            [f"{value % 2**32:08x}" for value in seen[:, 0].tolist()], "S8"
        )[:, None]
    write_files(folder, columns, _WARM_ROWS, expected_rows=4096)


def check(job: Job) -> None:
    """The files have every `id` with the bare model's scores."""
    check_files(job, ["id"])


CASE = Case(
    letter="g",
    name="categories",
    sentence="a click model of 13 numbers and 26 categories, hashed and embedded in the model, "
    "from Parquet to Parquet, with an id kept",
    clock="from opening the input to the finished output; the model is loaded, and "
    f"{_WARM_ROWS:,} rows have been scored before. `bare` has its rows in memory",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare_named:arrays", 200_000, 1_000_000),
        "read": Entry("read:files", 200_000, 1_000_000),
        "mirrorbeam": Entry("mirrorbeam:files", 200_000, 1_000_000),
        # RunInference's handler as shipped takes models of one input only.
        "runinference_tuned": Entry("runinference_named:tuned_parquet_files", 50_000, 200_000),
        "ray_data": Entry("ray_data:parquet_files", 200_000, 1_000_000, tree=True),
        "spark": Entry("spark:parquet_files", 200_000, 1_000_000, tree=True),
    },
    targets=(AS_FAST_AS_ITS_PARTS, *AHEAD_OF_PEERS),
    sweep_rows=(256, 1024, 4096, 16384),
    on_gpu=True,
)
