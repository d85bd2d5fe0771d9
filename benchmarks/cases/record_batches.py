"""Case a: a small network over rows that are in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.cases.base import Case, Entry, Job, Target
from benchmarks.measured import SEEN
from benchmarks.models import FEATURES, export_for_examples, save_mlp

_BASE_ROWS = 4096
_EXPECTED = "expected.json"


def generate(first: int, count: int, block_rows: int) -> Iterator[np.ndarray]:
    """Blocks of float32 rows `[block_rows, 32]`, made in place of a reader.

    A row is the same in whatever block it comes. Each block lies in memory of its own, where
    Arrow would put it.

    Args:
      first: position of the first row, a multiple of 4,096.
      count: how many rows.
      block_rows: rows of a block: 4,096 halved or doubled.
    """
    base = np.random.default_rng(0).normal(size=(_BASE_ROWS, FEATURES)).astype(np.float32)
    for start in range(first, first + count, block_rows):
        rows = min(block_rows, first + count - start)
        block = _arrow_memory(rows)
        for begin in range(0, rows, _BASE_ROWS):
            end = min(begin + _BASE_ROWS, rows)
            offset = (start + begin) % _BASE_ROWS
            shift = np.float32((start + begin) // _BASE_ROWS) * np.float32(1e-4)
            np.add(base[offset : offset + end - begin], shift, out=block[begin:end])
        yield block


def _arrow_memory(rows: int) -> np.ndarray:
    buffer = pa.allocate_buffer(rows * FEATURES * 4)
    return np.frombuffer(buffer, np.float32).reshape(rows, FEATURES)


def prepare(folder: Path, rows: int) -> None:
    """Saves the model and the sum of what it gives for these rows."""
    import keras

    save_mlp(folder / "model.keras")
    export_for_examples(folder)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    total = 0.0
    for block in generate(0, rows, 65536):
        total += float(model(block, training=False).numpy()[:, 0].sum(dtype=np.float64))
    (folder / _EXPECTED).write_text(json.dumps({"rows": rows, "checksum": total}))


def check(job: Job) -> None:
    """Every row was seen once, and their scores add up to the bare model's.

    Raises:
      ValueError: they do not.
    """
    expected = json.loads((job.data / _EXPECTED).read_text())
    SEEN.check(expected["rows"], expected["checksum"])


CASE = Case(
    letter="a",
    name="record_batches",
    sentence="a network of 32, 64 and 10 units over rows that are made in memory",
    clock="rows made, scored, and the outputs as NumPy arrays; the start of a pipeline, but not "
    "loading the model; rows come in blocks of the size that suits the bare loop best",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare:blocks", 10_000_000, 10_000_000),
        "mirrorbeam": Entry("mirrorbeam:blocks", 10_000_000, 10_000_000),
        "runinference": Entry("runinference:blocks", 30_000, 100_000),
        "runinference_tuned": Entry("runinference_tuned:blocks", 500_000, 2_000_000),
        "tfx_bsl": Entry("tfx_bsl:blocks", 60_000, 200_000),
    },
    targets=(
        Target("mirrorbeam", "bare", "rows_per_cpu_second", 0.95),
        Target("mirrorbeam", "bare", "rows_per_second", 0.9),
        Target("mirrorbeam", "runinference", "rows_per_second", 60),
        Target("mirrorbeam", "tfx_bsl", "rows_per_second", 6),
    ),
    sweep_rows=(1024, 4096, 16384, 65536, 262144),
    on_gpu=True,
)
