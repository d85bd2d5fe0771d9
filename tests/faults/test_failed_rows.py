"""Failed rows are an input of their own, whatever the format that they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import main
from tests.models import mlp_keras
from tests.pipelines.inputs import example, write_jsonl, write_parquet, write_png, write_records
from tests.pipelines.outputs import column, read_failed, read_report, read_rows

pytestmark = pytest.mark.usefixtures("logical_cpus")

# Its second value in every third row is one that the first preprocessing refuses.
BAD = slice(1, None, 3)

PREPARE = """
import tensorflow as tf

def strict(features):
    features = tf.cast(features, tf.float32)
    tf.debugging.assert_less(features, 1000.0)
    return features

def cured(features):
    features = tf.cast(features, tf.float32)
    return tf.where(features < 1000.0, features, 0.0)
"""


def rows_of(count: int) -> np.ndarray:
    made = np.random.default_rng(5).normal(size=(count, 8)).astype(np.float32)
    made[BAD, 1] = 5000.0
    return made


def as_parquet(path: Path, rows: np.ndarray) -> Path:
    return write_parquet(path / "in.parquet", {"id": np.arange(len(rows)), "features": rows})


def as_jsonl(path: Path, rows: np.ndarray) -> Path:
    lines = [{"id": i, "features": row.tolist()} for i, row in enumerate(rows)]
    return write_jsonl(path / "in.jsonl", lines)


def as_records(path: Path, rows: np.ndarray) -> Path:
    records = [example(id=i, features=row) for i, row in enumerate(rows)]
    return write_records(path / "in.tfrecord", records)


def score(folder: Path, source: Path, output: Path, *flags: str) -> int:
    places = ["--model", str(folder / "mlp.keras"), "--input", str(source)]
    return main(["score", *places, "--output", str(output), "--devices", "CPU:0", *flags])


@pytest.mark.parametrize("write", [as_parquet, as_jsonl, as_records])
def test_cured_rows_are_scored_into_another_folder(
    tmp_path: Path, write: Callable[[Path, np.ndarray], Path]
):
    _, reference = mlp_keras(tmp_path)
    rows = rows_of(24)
    (tmp_path / "prepare.py").write_text(PREPARE)
    out, again = tmp_path / "out", tmp_path / "again"
    flags = ("--max_failed_fraction", "1", "--keep", "all", "--preprocess")
    source = write(tmp_path, rows)
    assert score(tmp_path, source, out, *flags, f"{tmp_path}/prepare.py:strict") == 0
    assert read_report(out)["failed"] == 8
    failed = out / "_mirrorbeam/failed"
    assert score(tmp_path, failed, again, *flags, f"{tmp_path}/prepare.py:cured") == 0
    assert (again / "_SUCCESS").exists()
    found = [*read_rows(out), *read_rows(again)]
    ids = column(found, "id").reshape(-1)
    assert sorted(ids.tolist()) == list(range(24))
    cured = np.where(rows < 1000, rows, 0)
    expected = reference({"features": cured})["scores"][ids]
    np.testing.assert_allclose(column(found, "scores"), expected, atol=1e-6)


def test_rows_whose_copy_was_too_large_are_named_again(tmp_path: Path):
    mlp_keras(tmp_path)
    wide = [0.5] * (2**20 // 8 + 1)
    source = write_jsonl(tmp_path / "in.jsonl", [
        {"features": [1.0] * 8}, {"features": wide}, {"features": [1.0] * 7},
    ])  # fmt: skip
    out, again = tmp_path / "out", tmp_path / "again"
    assert score(tmp_path, source, out) == 0
    assert [row["features"] is None for row in read_failed(out)] == [True, False]
    assert score(tmp_path, out / "_mirrorbeam/failed", again) == 0
    rows: list[dict[str, Any]] = read_failed(again)
    assert [row["_error"] for row in rows] == ["NoCopyError", "ShapeError"]
    assert (rows[0]["_source"], rows[0]["_row"]) == (str(source), 1)
    assert f"Score row 1 of {source} again" in rows[0]["_message"]
    assert rows[1]["features"] == [1.0] * 7


def test_failed_images_are_named_again(tmp_path: Path):
    import keras

    pixels = keras.Input((8, 8, 3), name="pixels")
    means = keras.layers.GlobalAveragePooling2D(name="means")(pixels)
    keras.Model(pixels, means).save(tmp_path / "mlp.keras")
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in/good.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "in/bad.png").write_bytes(b"no image")
    out = tmp_path / "out"
    assert score(tmp_path, tmp_path / "in", out) == 0
    [row] = read_failed(out)
    assert (row["_source"], row["_stage"]) == (str(tmp_path / "in/bad.png"), "decode")
    assert row["record"] == b"no image"


def test_no_file_of_the_output_has_a_secret_of_the_command(tmp_path: Path):
    mlp_keras(tmp_path)
    source = write_jsonl(tmp_path / "in.jsonl", [{"features": [1.0] * 8}, {"features": [1.0]}])
    secret = "AKIA-hunter2"
    out = tmp_path / "out"
    assert score(tmp_path, source, out, f"--s3_secret_access_key={secret}") == 0
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"plan.json", "report.json", "part-00000.parquet"} <= {path.name for path in files}
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert secret not in str(read_failed(out))
