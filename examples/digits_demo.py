"""Trains a small CNN on handwritten digits, then scores them with the ``mirrorbeam`` command.

Run: make demo

The 1,797 digits of scikit-learn are written once as TFRecords and once as PNG files. Each form is
scored from the saved legacy ``.h5`` file on two replicas, and what comes back is held against a
plain loop over the bare model.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
from sklearn.datasets import load_digits

TRAINED_ROWS = 1_200
RECORD_FILES = 4
BARE_BATCH_ROWS = 256
# Two replicas add in another order than one device does.
TOLERANCE = 1e-5


class Digits(NamedTuple):
    """Gray images as uint8[n,8,8,1] with values 0 to 240, and the digit that each one shows."""

    images: np.ndarray
    labels: np.ndarray


class Score(NamedTuple):
    """What one run of ``mirrorbeam score`` left behind, in the order of the digits."""

    probabilities: np.ndarray
    report: dict[str, Any]
    seconds: float


def read_digits() -> Digits:
    """The digits that come with scikit-learn, brightened so that the PNGs can be looked at."""
    digits = load_digits()
    return Digits((digits.images[..., np.newaxis] * 15).astype(np.uint8), digits.target)


def train(digits: Digits, path: Path, epochs: int) -> None:
    """Fits a CNN to the first digits and saves it in the legacy HDF5 format."""
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 240),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    images = digits.images[:TRAINED_ROWS].astype(np.float32)
    model.fit(images, digits.labels[:TRAINED_ROWS], batch_size=32, epochs=epochs, verbose=0)
    model.save(path)


def write_records(digits: Digits, folder: Path) -> None:
    """Writes the digits as tf.Examples: 64 floats, the label and an id each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(digits.labels)), RECORD_FILES)):
        with tf.io.TFRecordWriter(str(folder / f"digits-{number}.tfrecord")) as writer:
            for row in rows:
                writer.write(_example(digits.images[row], digits.labels[row], row))


def _example(image: np.ndarray, label: int, number: int) -> bytes:
    feature = tf.train.Feature
    features = {
        "image": feature(float_list=tf.train.FloatList(value=image.ravel())),
        "label": feature(int64_list=tf.train.Int64List(value=[label])),
        "id": feature(int64_list=tf.train.Int64List(value=[number])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString())


def write_images(digits: Digits, folder: Path) -> None:
    """Writes one gray PNG a digit, named by its id."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(digits.images):
        (folder / f"{number:04d}.png").write_bytes(tf.io.encode_png(image).numpy())


def score_bare(digits: Digits, model_path: Path) -> np.ndarray:
    """The reference: a plain loop over the saved model, on one device."""
    model = tf.keras.models.load_model(model_path, compile=False)
    starts = range(0, len(digits.images), BARE_BATCH_ROWS)
    batches = [digits.images[start : start + BARE_BATCH_ROWS] for start in starts]
    return np.concatenate([model(batch.astype(np.float32)).numpy() for batch in batches])


def score(input_folder: Path, model_path: Path, output: Path) -> Score:
    """Runs ``mirrorbeam score`` as a user would, and reads what it wrote."""
    command = [str(Path(sys.executable).with_name("mirrorbeam")), "score"]
    command += ["--input", str(input_folder), "--model", str(model_path)]
    command += ["--output", str(output), "--logical_devices", "2", "--overwrite"]
    print("$", " ".join(["mirrorbeam", *command[1:]]), flush=True)
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    rows = pq.read_table(sorted(output.glob("part-*.parquet"))).to_pydict()
    ids = rows["id"] if "id" in rows else [int(Path(source).stem) for source in rows["_source"]]
    probabilities = np.array(rows["probabilities"])[np.argsort(ids)]
    report = json.loads((output / "_mirrorbeam" / "report.json").read_text())
    return Score(probabilities, report, seconds)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of rows whose likeliest digit is the right one."""
    return float(np.mean(np.argmax(probabilities, axis=-1) == labels))


def run(folder: Path, epochs: int) -> bool:
    """Does all of it below ``folder``; whether both scored outputs equal the bare model's."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = read_digits()
    model_path = folder / "digits.h5"
    print(f"training on {TRAINED_ROWS} of {len(digits.labels)} digits", flush=True)
    train(digits, model_path, epochs)
    write_records(digits, folder / "tfrecords")
    write_images(digits, folder / "images")
    bare = score_bare(digits, model_path)

    lines = [_line("", "rows", "accuracy", "on unseen", "rows/s", "model alone", "command")]
    lines.append(_line("bare model", *_quality(bare, digits.labels)))
    same = True
    for name in ("tfrecords", "images"):
        scored = score(folder / name, model_path, folder / f"scored-{name}")
        rates = (scored.report["rows_per_second"], scored.report["model_rows_per_second"])
        cells = [f"{rate:,.0f}" if rate else "-" for rate in rates]
        quality = _quality(scored.probabilities, digits.labels)
        lines.append(_line(name, *quality, *cells, f"{scored.seconds:.1f} s"))
        same = same and _agree(scored.probabilities, bare, digits.labels)
    print("\n".join(["", *lines, ""]))
    print(f"output: {folder}/scored-tfrecords and {folder}/scored-images")
    return same


def _quality(probabilities: np.ndarray, labels: np.ndarray) -> tuple[str, str, str]:
    whole = accuracy(probabilities, labels)
    unseen = accuracy(probabilities[TRAINED_ROWS:], labels[TRAINED_ROWS:])
    return str(len(probabilities)), f"{whole:.4f}", f"{unseen:.4f}"


def _line(name: str, *cells: str) -> str:
    return f"{name:12}" + "".join(f"{cell:>13}" for cell in cells)


def _agree(scored: np.ndarray, bare: np.ndarray, labels: np.ndarray) -> bool:
    return (
        scored.shape == bare.shape
        and accuracy(scored, labels) == accuracy(bare, labels)
        and bool(np.allclose(scored, bare, atol=TOLERANCE))
    )


def main() -> int:
    """Parses the arguments, runs the demo and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where all files go")
    parser.add_argument("--epochs", type=int, default=25, help="passes over the training digits")
    args = parser.parse_args()
    # Saving HDF5 is what this demo is about; Keras warns that the format is a legacy one.
    logging.getLogger("absl").setLevel(logging.ERROR)
    if run(args.folder, args.epochs):
        print("accuracy equals the bare model's on the same digits")
        return 0
    print("expected the bare model's probabilities; received others", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
