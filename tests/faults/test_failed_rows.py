"""Failed rows are an input of their own, whatever the format that they came from."""

from __future__ import annotations

import csv
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from tests.models import mlp_keras
from tests.pipelines.inputs import example, write_jsonl, write_png, write_records
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem
from tests.pipelines.outputs import Rows, column, read_failed, read_report, read_rows

pytestmark = pytest.mark.usefixtures("logical_cpus")

COUNT = 40
# Rows whose first value the first preprocessing refuses; of these, those above the limit of a
# copy; and those above the limit of a record.
BAD = range(1, COUNT, 3)
UNCOPIED = (4, 19, 22)
TOO_LONG = (3, 20, 21, 39)
FAILED = sorted({*BAD, *TOO_LONG})
LIMIT = ("--max_record_bytes", "2MiB")

PREPARE = """
import tensorflow as tf

def strict(a, b):
    tf.debugging.assert_less(tf.cast(a, tf.float32), 1000.0)
    return cured(a, b)

def cured(a, b):
    a, b = tf.cast(a, tf.float32), tf.cast(b, tf.float32)
    return tf.stack([tf.where(a < 1000.0, a, 0.0)] + 7 * [b], axis=1)
"""


def made_rows() -> list[dict[str, Any]]:
    numbers = np.random.default_rng(5).normal(size=(COUNT, 2)).astype(np.float32)
    numbers[BAD, 0] = 5000.0
    rows = []
    for i, (a, b) in enumerate(numbers.tolist()):
        size = 3 * 2**20 if i in TOO_LONG else 2**20 + 9 if i in UNCOPIED else 3
        rows.append({"id": i, "a": a, "b": b, "note": chr(97 + i % 26) * size})
    return rows


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path / "in.parquet", row_group_size=7)
    return path / "in.parquet"


def as_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    return write_jsonl(path / "in.jsonl", rows)


def as_records(path: Path, rows: list[dict[str, Any]]) -> Path:
    records = [example(**row | {"note": row["note"].encode()}) for row in rows]
    return write_records(path / "in.tfrecord", records)


def as_gzipped_records(path: Path, rows: list[dict[str, Any]]) -> Path:
    records = [example(**row | {"note": row["note"].encode()}) for row in rows]
    return write_records(path / "in.tfrecord.gz", records, "GZIP")


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with (path / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path / "in.csv"


WRITERS = [as_parquet, as_jsonl, as_records, as_gzipped_records, as_csv]


def score(folder: Path, source: Path | str, output: Path, *flags: str) -> int:
    places = ["--model", str(folder / "mlp.keras"), "--input", str(source)]
    return main(["score", *places, "--output", str(output), "--devices", "CPU:0", *flags])


def places(rows: Rows) -> list[tuple[str, int]]:
    return [(row["_source"], row["_row"]) for row in rows]


def assert_same(found: Rows, expected: Rows) -> None:
    """The same rows in the same order; outputs within a tolerance."""
    assert places(found) == places(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(one.pop("scores"), other.pop("scores"), atol=1e-6)
    assert found == expected


@pytest.mark.parametrize("split_bytes", ["64MiB", "5MiB"])
@pytest.mark.parametrize("write", WRITERS)
def test_failed_rows_are_scored_as_their_source_would_be(
    tmp_path: Path, write: Callable[[Path, list[dict[str, Any]]], Path], split_bytes: str
):
    _, reference = mlp_keras(tmp_path)
    rows = made_rows()
    (tmp_path / "prepare.py").write_text(PREPARE)
    source = write(tmp_path, rows)
    out, again, whole = (tmp_path / name for name in ("out", "again", "whole"))
    limits = () if write is as_parquet else LIMIT
    flags = (
        "--max_failed_fraction", "1", "--keep", "all", "--split_bytes", split_bytes,
        "--csv_delimiter", ";", "--preprocess",
    )  # fmt: skip
    assert score(tmp_path, source, out, *limits, *flags, f"{tmp_path}/prepare.py:strict") == 0
    failed_ids = list(BAD) if write is as_parquet else FAILED
    assert read_report(out)["failed"] == len(failed_ids)
    failed = read_failed(out)
    assert any(row["note"] is None for row in failed) != all(row["note"] is None for row in failed)

    # A copy of the folder, with nothing that lies beside it, is enough.
    shutil.copytree(out / "_mirrorbeam/failed", tmp_path / "copy")
    cured = ("--preprocess", f"{tmp_path}/prepare.py:cured", "--keep", "all")
    assert score(tmp_path, tmp_path / "copy", again, *cured) == 0
    assert (again / "_SUCCESS").exists()
    found = read_rows(again)
    assert [row["id"] for row in found] == failed_ids
    assert places(found) == places(failed)
    values = np.array([[min(rows[i]["a"], 1000) % 1000, *[rows[i]["b"]] * 7] for i in failed_ids])
    values[:, 0] = [0 if rows[i]["a"] > 999 else rows[i]["a"] for i in failed_ids]
    expected = reference({"features": values.astype(np.float32)})["scores"]
    np.testing.assert_allclose(column(found, "scores"), expected, atol=1e-6)

    assert score(tmp_path, source, whole, *flags, f"{tmp_path}/prepare.py:cured") == 0
    ids = set(failed_ids)
    assert_same(found, [row for row in read_rows(whole) if row["id"] in ids])
    assert sorted(row["id"] for row in [*read_rows(out), *found]) == list(range(COUNT))


def test_rows_fail_again_until_they_are_cured(tmp_path: Path):
    mlp_keras(tmp_path)
    (tmp_path / "prepare.py").write_text(PREPARE)
    source = as_jsonl(tmp_path, made_rows())
    flags = ("--max_failed_fraction", "1", "--keep", "all", "--preprocess")
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    assert score(tmp_path, source, tmp_path / "0", *LIMIT, *flags, strict) == 0
    for at in range(2):
        failed = tmp_path / f"{at}/_mirrorbeam/failed"
        assert score(tmp_path, failed, tmp_path / f"{at + 1}", *flags, strict) == 0
    # Those that were only too long are predicted by the first command without the limit.
    assert [row["id"] for row in read_rows(tmp_path / "1")] == [3, 20, 21, 39]
    assert read_report(tmp_path / "2")["predicted"] == 0
    assert places(read_failed(tmp_path / "2")) == places(read_failed(tmp_path / "1"))
    assert score(tmp_path, tmp_path / "2/_mirrorbeam/failed", tmp_path / "3", *flags, cured) == 0
    assert [row["id"] for row in read_rows(tmp_path / "3")] == list(BAD)
    assert read_report(tmp_path / "3")["failed"] == 0


def test_rows_whose_copy_was_too_large_fail_for_their_own_reason(tmp_path: Path):
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
    assert [row["_error"] for row in rows] == ["ShapeError", "ShapeError"]
    assert places(rows) == [(str(source), 1), (str(source), 2)]
    assert rows[1]["features"] == [1.0] * 7


def test_columns_that_the_first_job_did_not_read_are_had_by_name(tmp_path: Path):
    mlp_keras(tmp_path)
    (tmp_path / "prepare.py").write_text(PREPARE)
    source = as_parquet(tmp_path, made_rows())
    flags = ("--max_failed_fraction", "1", "--preprocess")
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    out, named, default = (tmp_path / name for name in ("out", "named", "default"))
    assert score(tmp_path, source, out, "--keep", "none", *flags, strict) == 0
    failed = out / "_mirrorbeam/failed"
    assert "id" not in read_failed(out)[0]
    assert score(tmp_path, failed, named, "--keep", "id", *flags, cured) == 0
    assert [(row["id"], row["_row"]) for row in read_rows(named)] == [(i, i) for i in BAD]
    # What nobody names costs no look at the source.
    source.unlink()
    assert score(tmp_path, failed, default, *flags, cured) == 0
    assert [sorted(row) for row in read_rows(default)] == [["_row", "_source", "scores"]] * len(BAD)


def test_sources_that_are_gone_or_changed_are_named(tmp_path: Path):
    mlp_keras(tmp_path)
    (tmp_path / "prepare.py").write_text(PREPARE)
    flags = ("--max_failed_fraction", "1", "--keep", "all", "--preprocess")
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    sources = [tmp_path / "in" / name for name in ("gone.jsonl", "longer.jsonl", "other.jsonl")]
    row = {"id": 0, "a": 5000.0, "b": 0.5, "note": "x" * (2**20 + 1)}
    small = row | {"note": "x"}
    for path in sources:
        write_jsonl(path, [row, small, row])
    given = [str(path) for path in sources]
    out, again = tmp_path / "out", tmp_path / "again"
    assert score(tmp_path, tmp_path / "in", out, *flags, strict) == 0
    sources[0].unlink()
    with sources[1].open("a") as file:
        file.write("\n")
    # As long as before, but with one row.
    data = sources[2].read_bytes()
    sources[2].write_bytes(data.replace(b"\n", b" "))
    failed = out / "_mirrorbeam/failed"
    assert score(tmp_path, failed, again, *flags, cured) == 0
    # The copies are enough where they are.
    assert places(read_rows(again)) == [(path, 1) for path in given]
    rows = read_failed(again)
    assert places(rows) == [(path, at) for path in given for at in (0, 2)]
    assert [row["_error"] for row in rows] == [
        *["FileNotFoundError"] * 2, *["SourceChangedError"] * 2, "JsonError", "SourceChangedError",
    ]  # fmt: skip
    for row in rows:
        assert f"row {row['_row']} of {row['_source']}" in row["_message"]


def test_sources_are_left_alone_where_that_is_asked_for(tmp_path: Path):
    mlp_keras(tmp_path)
    (tmp_path / "prepare.py").write_text(PREPARE)
    flags = ("--max_failed_fraction", "1", "--keep", "all", "--preprocess")
    source = as_jsonl(tmp_path, made_rows())
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    out, again = tmp_path / "out", tmp_path / "again"
    assert score(tmp_path, source, out, *flags, strict) == 0
    failed = out / "_mirrorbeam/failed"
    assert score(tmp_path, failed, again, "--reread", "off", *flags, cured) == 0
    rows = read_failed(again)
    assert [row["_error"] for row in rows] == ["NoCopyError"] * len(UNCOPIED)
    assert [row["_row"] for row in rows] == list(UNCOPIED)


IMAGES = """
import tensorflow as tf

def cured(image):
    return tf.image.resize(tf.cast(image, tf.float32), (8, 8))

def strict(image):
    brightest = tf.reduce_max(tf.cast(image, tf.float32), axis=(1, 2, 3))
    tf.debugging.assert_greater(brightest, 9.0)
    return cured(image)
"""


def means_model(path: Path) -> None:
    import keras

    pixels = keras.Input((8, 8, 3), name="pixels")
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="means")(pixels)).save(path)


def write_images(folder: Path) -> dict[str, np.ndarray]:
    """Images of two sizes by path; every third is too dark for `strict`, one is large."""
    images = {}
    for i in range(12):
        side = 700 if i == 7 else 8 + i % 2
        pixels = np.random.default_rng(i).integers(20, 256, (side, side, 3), np.uint8)
        images[str(folder / f"{i:02d}.png")] = pixels // 100 if i % 3 == 1 else pixels
    for path, pixels in images.items():
        write_png(Path(path), pixels)
    return images


@pytest.mark.parametrize("keep", ["none", "all"])
def test_failed_images_are_images_again(tmp_path: Path, keep: str):
    means_model(tmp_path / "mlp.keras")
    (tmp_path / "prepare.py").write_text(IMAGES)
    images = write_images(tmp_path / "in")
    (tmp_path / "in/03b.png").write_bytes(b"no image")
    out, again, whole = (tmp_path / name for name in ("out", "again", "whole"))
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    flags = ("--max_failed_fraction", "1", "--keep", keep, "--preprocess")
    limit = ("--max_image_pixels", "400000")
    assert score(tmp_path, tmp_path / "in", out, *limit, *flags, strict) == 0
    failed = read_failed(out)
    paths = sorted([*list(images)[1::3], str(tmp_path / "in/03b.png")])
    assert [row["_source"] for row in failed] == paths
    assert [row["_stage"] for row in failed] == ["infer", "decode", "infer", "decode", "infer"]
    assert [row["record"] is None for row in failed] == [True, False, True, False, True]

    assert score(tmp_path, out / "_mirrorbeam/failed", again, *flags, cured) == 0
    found = read_rows(again)
    assert [row["_source"] for row in found] == list(images)[1::3]
    assert score(tmp_path, tmp_path / "in", whole, *flags, cured) == 0
    expected = {row["_source"]: row for row in read_rows(whole)}
    for row in found:
        np.testing.assert_allclose(
            row.pop("means"), expected[row["_source"]].pop("means"), rtol=1e-5)
        assert row == expected[row["_source"]]
    [row] = read_failed(again)
    assert (row["_source"], row["record"]) == (str(tmp_path / "in/03b.png"), b"no image")


def test_failed_images_are_resized_as_the_images_are(tmp_path: Path):
    means_model(tmp_path / "mlp.keras")
    (tmp_path / "prepare.py").write_text(IMAGES)
    images = write_images(tmp_path / "in")
    out, again, whole = (tmp_path / name for name in ("out", "again", "whole"))
    flags = ("--max_failed_fraction", "1")
    preprocess = ("--preprocess", f"{tmp_path}/prepare.py:strict")
    assert score(tmp_path, tmp_path / "in", out, *flags, *preprocess) == 0
    assert score(tmp_path, out / "_mirrorbeam/failed", again, *flags) == 0
    assert score(tmp_path, tmp_path / "in", whole, *flags) == 0
    found = {row["_source"]: row["means"] for row in read_rows(again)}
    assert list(found) == list(images)[1::3]
    expected = {row["_source"]: row["means"] for row in read_rows(whole)}
    for path, means in found.items():
        np.testing.assert_allclose(means, expected[path], rtol=1e-5)


def test_images_that_are_gone_are_named(tmp_path: Path):
    means_model(tmp_path / "mlp.keras")
    (tmp_path / "prepare.py").write_text(IMAGES)
    images = write_images(tmp_path / "in")
    out, again = tmp_path / "out", tmp_path / "again"
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    flags = ("--max_failed_fraction", "1", "--preprocess")
    assert score(tmp_path, tmp_path / "in", out, *flags, strict) == 0
    gone, secret = list(images)[1:5:3]
    Path(gone).unlink()
    Path(secret).write_bytes(b"a secret, and no image")
    assert score(tmp_path, out / "_mirrorbeam/failed", again, *flags, cured) == 0
    assert [row["_source"] for row in read_rows(again)] == list(images)[7::3]
    first, second = read_failed(again)
    assert (first["_source"], first["_error"]) == (gone, "FileNotFoundError")
    assert (second["_source"], second["_error"]) == (secret, "ImageError")
    # What only a table named is not copied.
    assert second["record"] is None


def test_images_whose_files_were_mended_are_scored_as_they_are_now(tmp_path: Path):
    means_model(tmp_path / "mlp.keras")
    (tmp_path / "prepare.py").write_text(IMAGES)
    images = write_images(tmp_path / "in")
    broken, worse, left, dark = [*list(images)[2:12:3][:3], list(images)[1]]
    for path in (broken, worse, left):
        Path(path).write_bytes(b"no image")
    out, off, again = (tmp_path / name for name in ("out", "off", "again"))
    strict = ("--max_failed_fraction", "1", "--preprocess", f"{tmp_path}/prepare.py:strict")
    assert score(tmp_path, tmp_path / "in", out, *strict) == 0
    failed = out / "_mirrorbeam/failed"
    # The one was copied into its table as it was, the other failed for what it shows.
    for path in (broken, dark):
        write_png(Path(path), np.full((8, 8, 3), 100, np.uint8))
    Path(worse).write_bytes(b"a secret, and no image")
    assert score(tmp_path, failed, off, "--reread", "off", *strict) == 0
    assert read_rows(off) == []
    assert score(tmp_path, failed, again, *strict) == 0
    found = read_rows(again)
    assert [row["_source"] for row in found] == [dark, broken]
    np.testing.assert_allclose(column(found, "means"), 100, rtol=1e-5)
    rows = {row["_source"]: row for row in read_failed(again)}
    assert list(rows) == sorted([*list(images)[4::3], worse, left])
    assert "The file has changed since" in rows[worse]["_message"]
    assert "changed" not in rows[left]["_message"]
    assert rows[worse]["record"] == rows[left]["record"] == b"no image"


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


def test_a_job_of_failed_rows_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mlp_keras(tmp_path)
    (tmp_path / "prepare.py").write_text(PREPARE)
    source = as_records(tmp_path, made_rows())
    flags = ("--max_failed_fraction", "1", "--keep", "all", "--split_bytes", "5MiB", "--preprocess")
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    out, again = tmp_path / "out", tmp_path / "again"
    assert score(tmp_path, source, out, *flags, strict) == 0
    failed = out / "_mirrorbeam/failed"
    assert score(tmp_path, failed, again, *flags, cured) == 0
    expected = read_rows(again)
    for name in ("_SUCCESS", "_mirrorbeam/commits/00001.json", "part-00001.parquet"):
        (again / name).unlink()
    capsys.readouterr()
    assert score(tmp_path, failed, again, *flags, cured) == 0
    assert "failed rows" in capsys.readouterr().out
    assert_same(read_rows(again), expected)


def test_rows_of_other_filesystems_are_read_again(tmp_path: Path):
    mlp_keras(tmp_path)
    (tmp_path / "prepare.py").write_text(PREPARE)
    source = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/in.jsonl"
    FILES[source] = as_jsonl(tmp_path, made_rows()).read_bytes()
    flags = ("--max_failed_fraction", "1", "--keep", "all", "--preprocess")
    strict, cured = (f"{tmp_path}/prepare.py:{name}" for name in ("strict", "cured"))
    out, again = tmp_path / "out", tmp_path / "again"
    assert score(tmp_path, source, out, *LIMIT, *flags, strict) == 0
    assert score(tmp_path, out / "_mirrorbeam/failed", again, *flags, cured) == 0
    assert [(row["id"], row["_source"]) for row in read_rows(again)] == [
        (i, source) for i in FAILED]
