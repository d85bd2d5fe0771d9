"""Case d: a convolutional network over small images in Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.base import AHEAD_OF_PEERS, AS_FAST_AS_ITS_PARTS, Case, Entry, Job
from benchmarks.cases.mlp_files import check_files
from benchmarks.cases.table_files import write_files

SHAPE = (64, 64, 3)
_WARM_ROWS = 512


def save_model(path: Path) -> None:
    """Saves three convolutions: `pixels` uint8[n, 64, 64, 3] to `scores` float32[n, 10]."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8", name="pixels"),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.Conv2D(128, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, name="scores"),
        ]
    ).save(path)


def prepare(folder: Path, rows: int) -> None:
    """Writes images as lists of 12,288 bytes beside an id."""
    save_model(folder / "model.keras")
    rng = np.random.default_rng(0)
    # Blocks of one colour, with noise: no two images alike, none of it constant.
    coarse = rng.integers(0, 224, (rows, 8, 8, 3), np.uint8)
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)
    pixels += rng.integers(0, 32, pixels.shape, np.uint8)
    write_files(folder, {"pixels": pixels}, _WARM_ROWS, expected_rows=256)


def check(job: Job) -> None:
    """The files have every `id` with the bare model's scores."""
    check_files(job, ["id"])


CASE = Case(
    letter="d",
    name="small_images",
    sentence="a network of three convolutions over images of 64x64x3 uint8, from Parquet to "
    "Parquet, with an id kept",
    clock="from opening the input to the finished output; the model is loaded, and "
    f"{_WARM_ROWS} rows have been scored before. `bare` has its rows in memory",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare_named:arrays", 8_000, 20_000),
        "read": Entry("read:files", 8_000, 20_000),
        "mirrorbeam": Entry("mirrorbeam:files", 8_000, 20_000),
        "runinference": Entry("runinference_named:parquet_files", 1_000, 4_000),
        "runinference_tuned": Entry("runinference_named:tuned_parquet_files", 8_000, 20_000),
        "ray_data": Entry("ray_data:parquet_files", 8_000, 20_000, tree=True),
        "spark": Entry("spark:parquet_files", 8_000, 20_000, tree=True),
    },
    targets=(AS_FAST_AS_ITS_PARTS, *AHEAD_OF_PEERS),
    sweep_rows=(16, 64, 256, 1024),
    on_gpu=True,
)
