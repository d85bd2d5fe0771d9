"""The batch size that the tuner chooses, against the best of an exhaustive sweep.

For each model every size of the ladder is timed in turn. Then the searches run: the one inside a
job, which takes batches as they come, and that of `mirrorbeam tune`, which runs each size again
before it chooses. At last the sweep's fastest sizes and what the searches chose are timed in turn,
many rounds of it, and the best time of each size counts: what is chosen is not rated by figures
of its own.

    python -m benchmarks.tuning_quality
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.marked_text import put_between
from transforms.engine.ladder import ladder
from transforms.engine.model import ModelSpec
from transforms.engine.opening import PredictorConfig, open_predictor, predictor_of
from transforms.engine.predictor import Predictor
from transforms.engine.sizing import START_BYTES, START_ROWS
from transforms.engine.sweep import repeat_rows, sweep
from transforms.engine.tuning import RateTuner

_LOG = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "tuning_quality.json"
PAGE_FILE = ROOT / "docs" / "tuning.md"
BEGIN, END = "<!-- written by benchmarks/tuning_quality.py -->\n", "<!-- end -->\n"
SAMPLE_ROWS = 256
# A larger batch would take longer than a person waits for the whole sweep.
LARGEST_SECONDS = 2.0
# Sizes of the sweep that are timed again beside what was chosen.
FASTEST = 5


def mlp() -> Any:
    """32 features through two layers of 256."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32,), name="x"),
            layers.Dense(256, activation="relu"),
            layers.Dense(256, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def cnn() -> Any:
    """Images of 64 by 64 through three convolutions."""
    import keras

    layers = keras.layers
    stack = [keras.Input((64, 64, 3), name="x")]
    for filters in (16, 32, 64):
        stack += [layers.Conv2D(filters, 3, padding="same", activation="relu")]
        stack += [layers.MaxPooling2D()]
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(10)])


def lstm() -> Any:
    """50 steps of 16 features through a recurrent layer of 64."""
    import keras

    return keras.Sequential(
        [keras.Input((50, 16), name="x"), keras.layers.LSTM(64), keras.layers.Dense(1)]
    )


MODELS: dict[str, Callable[[], Any]] = {"MLP": mlp, "CNN": cnn, "LSTM": lstm}


def measure(name: str, rounds: int, searches: int, final_rounds: int) -> dict[str, Any]:
    """All figures of one model."""
    with tempfile.TemporaryDirectory() as folder:
        model = MODELS[name]()
        path = str(Path(folder) / "model.keras")
        model.save(path)
        shape = tuple(model.input_shape[1:])
        lease = open_predictor(PredictorConfig(ModelSpec(path), ("CPU:0",)))
        predictor = predictor_of(lease)
        sample = {"x": np.random.default_rng(0).normal(size=(SAMPLE_ROWS, *shape))}
        sample["x"] = sample["x"].astype(np.float32)
        times = exhaustive(predictor, sample, rounds)
        sizes = sorted(times)
        chosen = {
            "job": [search_as_a_job(predictor, sample, sizes) for _ in range(searches)],
            "tune": [
                sweep(predictor, sample, seconds=60.0, most_rows=sizes[-1]).chosen
                for _ in range(searches)
            ],
        }
        fastest = sorted(sizes, key=lambda rows: min(times[rows]) / rows)[:FASTEST]
        compared = sorted({*fastest, *chosen["job"], *chosen["tune"]})
        for _ in range(final_rounds):
            for rows in compared:
                times[rows].append(predictor.time_batch(repeat_rows(sample, rows)))
        rates = {rows: rows / min(found) for rows, found in times.items()}
        best = max(rates[rows] for rows in compared)
        predictor.close()
        lease.release()
    ratios = {
        kind: [round(rates[rows] / best, 3) for rows in sizes] for kind, sizes in chosen.items()
    }
    return {
        "model": name,
        "what": MODELS[name].__doc__,
        "rates": {str(rows): round(rate, 1) for rows, rate in rates.items()},
        "compared": compared,
        "best_rows": max(compared, key=lambda rows: rates[rows]),
        "chosen": chosen,
        "ratio_to_best": ratios,
    }


def exhaustive(predictor: Predictor, sample: dict[str, Any], rounds: int) -> dict[int, list[float]]:
    """Seconds of every size of the ladder, in several rounds."""
    row_bytes = sample["x"][0].nbytes
    times: dict[int, list[float]] = {}
    for rows in ladder(min(1 << 17, (128 << 20) // row_bytes), predictor.replicas.count):
        batch = repeat_rows(sample, rows)
        predictor.time_batch(batch)
        times[rows] = [predictor.time_batch(batch)]
        if times[rows][0] > LARGEST_SECONDS:
            break
    for _ in range(rounds):
        for rows, found in times.items():
            found.append(predictor.time_batch(repeat_rows(sample, rows)))
    return times


def search_as_a_job(predictor: Predictor, sample: dict[str, Any], sizes: list[int]) -> int:
    """What a job's own search chooses, batch after batch."""
    row_bytes = sample["x"][0].nbytes
    tuner = RateTuner(sizes, min(START_ROWS, START_BYTES // row_bytes))
    while not tuner.is_done:
        rows = tuner.current
        tuner.observe(rows, predictor.time_batch(repeat_rows(sample, rows)))
    return tuner.chosen


def table(models: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| model | best size | its rows/s | a job chooses | of the best rate | `tune` chooses "
        "| of the best rate |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in models:
        best = found["best_rows"]
        cells = [f"{found['model']}: {found['what'].rstrip('.')}", f"{best:,}"]
        cells.append(f"{found['rates'][str(best)]:,.0f}")
        for kind in ("job", "tune"):
            ratios = found["ratio_to_best"][kind]
            sizes = sorted({f"{rows:,}" for rows in found["chosen"][kind]}, key=len)
            cells += [
                ", ".join(sizes),
                f"{statistics.median(ratios):.2f} (worst {min(ratios):.2f})",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, and writes the figures and the page's table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--final_rounds", type=int, default=20)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    models = []
    for name in MODELS:
        models.append(measure(name, arguments.rounds, arguments.searches, arguments.final_rounds))
        _LOG.info("%s", json.dumps(models[-1]))
    import tensorflow as tf

    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}"
    )
    figures = {
        "machine": machine,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "rounds": arguments.rounds,
        "searches": arguments.searches,
        "final_rounds": arguments.final_rounds,
        "models": models,
    }
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    note = (
        f"On {machine}, shared with other work (load {figures['load_average'][1]:g}); "
        f"{arguments.searches} searches of each kind, rated in {arguments.final_rounds} rounds "
        "beside the fastest sizes of the whole ladder.\n\n"
    )
    content = f"\n{note}{table(models)}\n"
    PAGE_FILE.write_text(put_between(PAGE_FILE.read_text(), BEGIN, END, content))


if __name__ == "__main__":
    main()
