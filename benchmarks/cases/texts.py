"""Case f: texts, cut into words and looked up by the model itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.base import AHEAD_OF_PEERS, AS_FAST_AS_ITS_PARTS, Case, Entry, Job
from benchmarks.cases.mlp_files import check_files
from benchmarks.cases.table_files import write_files

_WORDS, _LONGEST = 20_000, 60
_WARM_ROWS = 4096


def words() -> np.ndarray:
    """20,000 words of three to nine letters."""
    rng = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return np.unique(
        ["".join(rng.choice(letters, rng.integers(3, 10))) for _ in range(_WORDS * 11 // 10)]
    )[:_WORDS]


def save_model(path: Path) -> None:
    """Saves an average of word vectors: `text` string[n] to `scores` float32[n, 10]."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input((), dtype="string", name="text"),
            layers.TextVectorization(vocabulary=words().tolist(), output_sequence_length=64),
            layers.Embedding(_WORDS + 2, 32, embeddings_initializer="normal"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, name="scores", kernel_initializer=keras.initializers.RandomNormal()),
        ]
    ).save(path)


def prepare(folder: Path, rows: int) -> None:
    """Writes texts of 5 to 60 words beside an id; some words are in no vocabulary."""
    save_model(folder / "model.keras")
    rng = np.random.default_rng(0)
    known = np.concatenate([words(), np.array(["Unknown!", "out-of", "vocabulary."])])
    lengths = rng.integers(5, _LONGEST + 1, rows)
    chosen = known[rng.integers(0, len(known), int(lengths.sum()))]
    ends = np.cumsum(lengths)
    texts = [
        " ".join(chosen[end - length : end]) for end, length in zip(ends, lengths, strict=True)
    ]
    write_files(folder, {"text": np.array(texts, "S")}, _WARM_ROWS, expected_rows=4096)


def check(job: Job) -> None:
    """The files have every `id` with the bare model's scores."""
    check_files(job, ["id"])


CASE = Case(
    letter="f",
    name="texts",
    sentence="texts of 5 to 60 words through a network that cuts and looks them up itself, from "
    "Parquet to Parquet, with an id kept",
    clock="from opening the input to the finished output; the model is loaded, and "
    f"{_WARM_ROWS:,} rows have been scored before. `bare` has its rows in memory",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare_named:arrays", 100_000, 400_000),
        "read": Entry("read:files", 100_000, 400_000),
        "mirrorbeam": Entry("mirrorbeam:files", 100_000, 400_000),
        "runinference": Entry("runinference_named:parquet_files", 10_000, 40_000),
        "runinference_tuned": Entry("runinference_named:tuned_parquet_files", 50_000, 200_000),
        "ray_data": Entry("ray_data:parquet_files", 100_000, 400_000, tree=True),
        "spark": Entry("spark:parquet_files", 100_000, 400_000, tree=True),
    },
    targets=(AS_FAST_AS_ITS_PARTS, *AHEAD_OF_PEERS),
    sweep_rows=(256, 1024, 4096, 16384),
    on_gpu=True,
)
