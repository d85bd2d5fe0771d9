"""In-memory record batches through ``MirroredInference`` against the bare ``tf.function`` loop.

Both sides make the same rows by the same generator and copy the outputs to NumPy. Each run is a
process of its own and the sides take turns, so that a drift of the machine meets both. The model
is loaded before the clock starts; the start of the pipeline is inside.

    python -m benchmarks.record_batches --rows 1000000 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, HIDDEN, CLASSES = 32, 64, 10
RESULTS = Path(__file__).parent / "results"
CONTENDERS = ("bare", "mirrorbeam")

# What the pipeline's last transform saw, in this process.
SEEN = {"rows": 0, "checksum": 0.0}

_LOG = logging.getLogger(__name__)


def make_model(path: str) -> None:
    """Saves a network of 32, 64 and 10 units."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input((FEATURES,), name="features"),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(CLASSES, name="scores"),
        ]
    ).save(path)


def generate(rows: int, block_rows: int) -> Iterator[np.ndarray]:
    """Blocks of float32 rows `[block_rows, 32]`, made in place of a reader."""
    base = np.random.default_rng(0).normal(size=(block_rows, FEATURES)).astype(np.float32)
    for first in range(0, rows, block_rows):
        yield base[: min(block_rows, rows - first)] + np.float32(first / rows)


def look(scores: np.ndarray) -> None:
    """Counts rows and adds up a score of each block."""
    SEEN["rows"] += len(scores)
    SEEN["checksum"] += float(scores[0, 0])


def run_bare(model_path: str, rows: int, block_rows: int) -> None:
    """The model in a loop, nothing around it."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(model_path, compile=False)
    call = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec([None, FEATURES], tf.float32)],
    )
    call(tf.zeros([block_rows, FEATURES])).numpy()
    with Measured():
        for block in generate(rows, block_rows):
            look(call(tf.constant(block)).numpy())


def run_mirrorbeam(model_path: str, rows: int, block_rows: int) -> None:
    """The same rows as record batches through a pipeline."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from transforms import MirroredInference, MirroredInferenceDoFn
    from transforms.inference_setup import InferenceSetup

    # Loads the model; the process keeps it for the pipeline.
    MirroredInferenceDoFn(InferenceSetup.checked(model_path, devices=("CPU:0",))).setup()
    with Measured(), beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        scored = (
            pipeline
            | beam.Create([(rows, block_rows)])
            | beam.FlatMap(record_batches)
            | MirroredInference(model_path, devices=("CPU:0",))
        )
        _ = scored.predictions | beam.Map(look_at_batch)


def record_batches(spec: tuple[int, int]) -> Iterator[Any]:
    """The generator's blocks as Arrow sees them, uncopied."""
    import pyarrow as pa

    for block in generate(*spec):
        column = pa.FixedSizeListArray.from_arrays(block.reshape(-1), FEATURES)
        yield pa.RecordBatch.from_arrays([column], names=["features"])


def look_at_batch(batch: Any) -> None:
    """``look`` for a scored record batch."""
    look(batch.column("scores").values.to_numpy().reshape(-1, CLASSES))


class Measured:
    """Prints what a block of code took, as JSON, with what was seen."""

    def __enter__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *raised: object) -> None:
        figures = {
            "wall_seconds": time.perf_counter() - self._wall,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        sys.stdout.write(json.dumps(SEEN | figures) + "\n")


def measure(contender: str, model_path: str, rows: int, block_rows: int) -> dict[str, float]:
    """One run in a process of its own."""
    call = f"run_{contender}({model_path!r}, {rows}, {block_rows})"
    done = subprocess.run(
        [sys.executable, "-c", f"from benchmarks import record_batches as r; r.{call}"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(rows: int, block_rows: int, rounds: int) -> dict[str, Any]:
    """Runs the contenders in turn and relates their medians.

    Raises:
      RuntimeError: the contenders did not see the same rows.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "mlp.keras")
        make_model(path)
        for number in range(rounds):
            for name in CONTENDERS:
                runs[name].append(measure(name, path, rows, block_rows))
                _LOG.info("round %d, %s: %s", number + 1, name, runs[name][-1])
    seen = {(run["rows"], round(run["checksum"], 2)) for found in runs.values() for run in found}
    if len(seen) != 1:
        raise RuntimeError(f"expected every contender to see the same rows. Received: {seen}.")
    table = {
        name: {
            "rows_per_second": round(rows / _median(found, "wall_seconds")),
            "rows_per_cpu_second": round(rows / _median(found, "cpu_seconds")),
            "wall_seconds_range": [
                round(pick(run["wall_seconds"] for run in found), 4) for pick in (min, max)
            ],
            "peak_mib": round(_median(found, "peak_mib")),
        }
        for name, found in runs.items()
    }
    bare, ours = table["bare"], table["mirrorbeam"]
    return {
        "case": "MLP 32-64-10, in-memory record batches",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "rows": rows,
        "block_rows": block_rows,
        "rounds": rounds,
        "contenders": table,
        "ratio_rows_per_second": round(ours["rows_per_second"] / bare["rows_per_second"], 3),
        "ratio_rows_per_cpu_second": round(
            ours["rows_per_cpu_second"] / bare["rows_per_cpu_second"], 3
        ),
    }


def _median(found: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in found)


def main() -> None:
    """Measures and writes the figures to `benchmarks/results/`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--block_rows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    figures = compare(arguments.rows, arguments.block_rows, arguments.rounds)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"record_batches-{arguments.rows}.json"
    target.write_text(json.dumps(figures, indent=2) + "\n")
    _LOG.info("%s", json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
