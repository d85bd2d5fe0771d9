"""Whole jobs, run as the command runs them, against a plain loop over the bare model."""

from __future__ import annotations

import csv
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import main
from tests.filesystem import ShelfFileSystem
from tests.models import (
    custom_layer_keras,
    examples_saved_model,
    mlp_h5,
    mlp_keras,
    mlp_weights,
    multi_keras,
    strings_saved_model,
)
from tests.pipelines.inputs import example, write_jsonl, write_parquet, write_png, write_records
from tests.pipelines.outputs import column, read_failed, read_report, read_rows
from tests.processes import python
from tests.references import Reference
from transforms.engine.model import ModelSpec

pytestmark = pytest.mark.usefixtures("logical_cpus")

CPUS = ("--devices", "CPU:0,CPU:1", "--batch_size", "64")

Made = tuple[ModelSpec, Reference]


@pytest.fixture(scope="module")
def made(logical_cpus: int, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Made]:
    """Makes each test model once."""
    models: dict[Any, Made] = {}

    def make(factory: Callable[[Path], Made]) -> Made:
        if factory not in models:
            models[factory] = factory(tmp_path_factory.mktemp(factory.__name__))
        return models[factory]

    return make


def score(model: ModelSpec, source: Any, output: Any, *flags: str) -> int:
    places = ["--model", model.path, "--input", str(source), "--output", str(output)]
    return main(["score", *places, *CPUS, *flags])


def succeeded(output: Path, rows: int, failed: int = 0) -> bool:
    report = read_report(output)
    assert (report["rows_in"], report["predicted"], report["failed"]) == (
        rows, rows - failed, failed,
    )  # fmt: skip
    return (output / "_SUCCESS").exists()


def image_model(folder: Path) -> Made:
    """`pixels` float32[?,8,8,3] to `sums` float32[?,2]."""
    import keras

    pixels = keras.Input((8, 8, 3), name="pixels")
    features = keras.layers.Conv2D(4, 3, activation="relu")(pixels)
    sums = keras.layers.Dense(2, name="sums")(keras.layers.GlobalAveragePooling2D()(features))
    model = keras.Model(pixels, sums)
    model.save(folder / "image.keras")
    return ModelSpec(str(folder / "image.keras")), Reference(
        lambda rows: {"sums": model(rows["pixels"], training=False)}, lambda count, rng: {}
    )


def any_size_model(folder: Path) -> Made:
    """`pixels` float32[?,?,?,3] to `means` float32[?,3]."""
    import keras

    pixels = keras.Input((None, None, 3), name="pixels")
    means = keras.layers.GlobalAveragePooling2D(name="means")(pixels)
    model = keras.Model(pixels, means)
    model.save(folder / "any_size.keras")
    return ModelSpec(str(folder / "any_size.keras")), Reference(
        lambda rows: {"means": model(rows["pixels"], training=False)}, lambda count, rng: {}
    )


def lambda_model(folder: Path) -> Made:
    """Code in the file: `x` float32[?,3] to `y` float32[?,3]."""
    import keras

    x = keras.Input((3,), name="x")
    keras.Model(x, keras.layers.Lambda(lambda value: value + 1, name="y")(x)).save(
        folder / "lambda.keras"
    )
    return ModelSpec(str(folder / "lambda.keras")), Reference(lambda rows: {}, lambda *_: {})


# Every input format, and every output format.


def test_parquet_in_many_splits(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(600)
    for file in range(3):
        part = slice(file * 200, (file + 1) * 200)
        columns = {"id": np.arange(200) + file * 200, "features": rows["features"][part]}
        write_parquet(tmp_path / f"in/{file}.parquet", columns, row_group_rows=30)
    assert score(spec, tmp_path / "in", tmp_path / "out", "--split_bytes", "4000") == 0
    assert succeeded(tmp_path / "out", 600)
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) > 6
    found = read_rows(tmp_path / "out")
    assert list(found[0]) == ["id", "scores", "_source", "_row"]
    np.testing.assert_array_equal(column(found, "id"), np.arange(600))
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)
    for row in found:
        assert row["_source"] == str(tmp_path / f"in/{row['id'] // 200}.parquet")
        assert row["_row"] == row["id"] % 200


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_features_of_tfrecords_to_tfrecords(made, tmp_path: Path, compression: str):
    spec, reference = made(mlp_h5)
    rows = reference.rows(100)
    records = [example(features=row, name=b"n%d" % i) for i, row in enumerate(rows["features"])]
    suffix = ".gz" if compression else ""
    path = write_records(tmp_path / f"in.tfrecord{suffix}", records, compression)
    assert score(spec, path, tmp_path / "out", "--output_format", "tfrecord") == 0
    assert succeeded(tmp_path / "out", 100)
    found = read_rows(tmp_path / "out", "tfrecord")
    assert [row["name"] for row in found] == [b"n%d" % i for i in range(100)]
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)


def test_one_tfrecord_file_in_ranges_gives_the_rows_of_one_split(made, tmp_path: Path):
    spec, reference = made(mlp_h5)
    rows = reference.rows(300)
    records = [example(features=row, name=b"n%d" % i) for i, row in enumerate(rows["features"])]
    path = write_records(tmp_path / "in.tfrecord", records)
    assert score(spec, path, tmp_path / "whole") == 0
    assert score(spec, path, tmp_path / "ranges", "--split_bytes", "2000") == 0
    assert succeeded(tmp_path / "ranges", 300)
    whole, ranges = (read_rows(tmp_path / name) for name in ("whole", "ranges"))
    plans = [
        json.loads((tmp_path / name / "_mirrorbeam" / "plan.json").read_text())
        for name in ("whole", "ranges")
    ]
    assert [made["row_unit"] for made in plans] == ["record", "byte"]
    assert len(plans[1]["splits"]) == -(-path.stat().st_size // 2000)
    np.testing.assert_array_equal(column(ranges, "name"), column(whole, "name"))
    np.testing.assert_allclose(column(ranges, "scores"), column(whole, "scores"), atol=1e-6)
    assert [row["_row"] for row in whole] == list(range(300))
    data = path.read_bytes()
    for row, record in zip(ranges, records, strict=True):
        assert data[row["_row"] + 12 :].startswith(record)


def test_whole_records_to_a_model_that_parses_them(made, tmp_path: Path):
    spec, reference = made(examples_saved_model)
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    records = [example(x=row, name=b"n%d" % i) for i, row in enumerate(values)]
    path = write_records(tmp_path / "in.tfrecord", records)
    flags = ("--output_format", "jsonl", "--keep", "name,x")
    assert score(spec, path, tmp_path / "out", *flags) == 0
    assert succeeded(tmp_path / "out", 50)
    found = read_rows(tmp_path / "out", "jsonl")
    expected = reference({"examples": np.array(records, dtype=object)})
    assert [row["name"] for row in found] == [f"n{i}" for i in range(50)]
    np.testing.assert_allclose(column(found, "x"), values, rtol=1e-6)
    np.testing.assert_allclose(column(found, "scaled"), expected["scaled"], rtol=1e-5)
    np.testing.assert_allclose(column(found, "sum"), expected["sum"], rtol=1e-5)
    assert score(spec, path, tmp_path / "default", "--output_format", "jsonl") == 0
    assert set(read_rows(tmp_path / "default", "jsonl")[0]) == {"scaled", "sum", "_source", "_row"}


def test_images_of_many_sizes_are_resized_on_the_device(made, tmp_path: Path):
    import tensorflow as tf

    spec, reference = made(image_model)
    rng = np.random.default_rng(0)
    pixels = [
        rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(8, 8), (12, 9), (5, 7)] * 8
    ]
    for index, image in enumerate(pixels):
        write_png(tmp_path / f"in/{index:02d}.png", image)
    (tmp_path / "in/07.png").write_bytes(b"no image")
    assert score(spec, tmp_path / "in", tmp_path / "out", "--output_format", "csv") == 0
    assert succeeded(tmp_path / "out", 24, failed=1)
    found = read_rows(tmp_path / "out", "csv")
    kept = [index for index in range(24) if index != 7]
    assert [row["_source"] for row in found] == [str(tmp_path / f"in/{i:02d}.png") for i in kept]
    expected = [
        reference({"pixels": tf.image.resize(pixels[i], (8, 8))[tf.newaxis]})["sums"][0]
        for i in kept
    ]
    np.testing.assert_allclose(column(found, "sums"), expected, rtol=1e-3, atol=1e-3)
    [failed] = read_failed(tmp_path / "out")
    assert (failed["record"], failed["_stage"]) == (b"no image", "decode")
    assert failed["_source"] == str(tmp_path / "in/07.png")


def test_decoding_jpegs_smaller_is_another_job(made, tmp_path: Path):
    import tensorflow as tf
    from PIL import Image

    spec, reference = made(image_model)
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    expected = []
    for index, size in enumerate([(64, 48), (40, 33), (9, 30)] * 3):
        coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), np.uint8))
        path = tmp_path / f"in/{index}.jpg"
        coarse.resize(size, Image.Resampling.BICUBIC).save(path, quality=95)
        stored = Image.open(path)
        stored.draft(None, (8, 8))
        resized = tf.image.resize(np.asarray(stored)[np.newaxis], (8, 8))
        expected.append(reference({"pixels": resized})["sums"][0])
    digests = []
    for decoding in ("scaled", "full"):
        out = tmp_path / decoding
        assert score(spec, tmp_path / "in", out, "--image_decode", decoding) == 0
        sums = column(read_rows(out), "sums")
        assert np.allclose(sums, expected, rtol=1e-4) == (decoding == "scaled")
        digests.append(json.loads((out / "_mirrorbeam/plan.json").read_text())["fingerprint"])
    assert digests[0] != digests[1]


def test_json_lines_to_a_model_of_several_inputs(made, tmp_path: Path):
    spec, reference = made(multi_keras)
    rows = reference.rows(70)
    lines = [
        {
            "age": float(rows["age"][i, 0]), "code": int(rows["code"][i]),
            "marks": rows["marks"][i].tolist(), "note": f"n{i}",
        }
        for i in range(70)
    ]  # fmt: skip
    path = write_jsonl(tmp_path / "in.jsonl", lines)
    assert score(spec, path, tmp_path / "out", "--output_format", "jsonl") == 0
    assert succeeded(tmp_path / "out", 70)
    found = read_rows(tmp_path / "out", "jsonl")
    expected = reference(rows)
    assert [row["note"] for row in found] == [f"n{i}" for i in range(70)]
    np.testing.assert_allclose(column(found, "risk"), expected["risk"], atol=1e-5)
    np.testing.assert_allclose(column(found, "kind"), expected["kind"], atol=1e-5)


PREPARE = """
import tensorflow as tf


def stack(f0, f1, f2, f3, f4, f5, f6, f7):
    columns = [f0, f1, f2, f3, f4, f5, f6, f7]
    return tf.stack([tf.cast(column, tf.float32) for column in columns], axis=1) * 2


def brightness(image):
    scaled = tf.cast(image, tf.float32) / 255
    return tf.image.resize(scaled, (8, 8))
"""


def test_csv_with_preprocessing_from_a_file(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    values = np.random.default_rng(0).integers(-5, 5, size=(90, 8))
    header = ",".join(["id", *(f"f{i}" for i in range(8))])
    lines = [header, *(f"{i},{','.join(map(str, row))}" for i, row in enumerate(values))]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "prepare.py").write_text(PREPARE)
    flags = ("--preprocess", f"{tmp_path / 'prepare.py'}:stack", "--output_format", "csv")
    assert score(spec, tmp_path / "in.csv", tmp_path / "out", *flags) == 0
    assert succeeded(tmp_path / "out", 90)
    found = read_rows(tmp_path / "out", "csv")
    assert list(found[0]) == ["id", "scores", "_source", "_row"]
    assert [int(row["id"]) for row in found] == list(range(90))
    expected = reference({"features": values.astype(np.float32) * 2})["scores"]
    np.testing.assert_allclose(column(found, "scores"), expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_one_text_file_in_ranges_gives_the_rows_of_one_split(made, tmp_path: Path, suffix: str):
    spec, reference = made(mlp_keras)
    rows = reference.rows(300)["features"]
    path = tmp_path / f"in.{suffix}"
    names = [f"two,\nlines \"{index}\"" for index in range(300)]
    if suffix == "csv":
        (tmp_path / "prepare.py").write_text(PREPARE)
        flags = ("--preprocess", f"{tmp_path / 'prepare.py'}:stack")
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", *(f"f{index}" for index in range(8))])
            writer.writerows([name, *row.tolist()] for name, row in zip(names, rows, strict=True))
    else:
        flags = ()
        write_jsonl(path, [
            {"name": name, "features": row.tolist()}
            for name, row in zip(names, rows, strict=True)
        ])  # fmt: skip
    assert score(spec, path, tmp_path / "whole", *flags) == 0
    assert score(spec, path, tmp_path / "ranges", "--split_bytes", "6000", *flags) == 0
    assert succeeded(tmp_path / "ranges", 300)
    plan = json.loads((tmp_path / "ranges" / "_mirrorbeam" / "plan.json").read_text())
    assert (plan["row_unit"], len(plan["splits"])) == ("byte", -(-path.stat().st_size // 6000))
    whole, ranges = (read_rows(tmp_path / name) for name in ("whole", "ranges"))
    assert column(ranges, "name").tolist() == column(whole, "name").tolist() == names
    np.testing.assert_allclose(column(ranges, "scores"), column(whole, "scores"), atol=1e-6)
    lines = path.read_bytes()
    assert all(lines[row["_row"] - 1 : row["_row"]] in (b"", b"\n") for row in ranges)


def test_preprocessing_gets_images_in_their_own_size(made, tmp_path: Path):
    import tensorflow as tf

    spec, reference = made(image_model)
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(16, 16), (9, 20)] * 3]
    for index, image in enumerate(pixels):
        write_png(tmp_path / f"in/{index}.png", image)
    (tmp_path / "prepare.py").write_text(PREPARE)
    flags = ("--preprocess", f"{tmp_path / 'prepare.py'}:brightness")
    assert score(spec, tmp_path / "in/*.png", tmp_path / "out", *flags) == 0
    expected = [
        reference({"pixels": tf.image.resize(image / np.float32(255), (8, 8))[tf.newaxis]})
        for image in pixels
    ]
    found = read_rows(tmp_path / "out")
    np.testing.assert_allclose(
        column(found, "sums"), [row["sums"][0] for row in expected], atol=1e-5
    )


@pytest.mark.parametrize("sizes", [[(8, 8), (4, 6)], [(8, 8), (8, 8)]])
def test_kept_images_keep_their_sizes(made, tmp_path: Path, sizes):
    spec, _ = made(image_model)
    rng = np.random.default_rng(2)
    pixels = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    for index, image in enumerate(pixels):
        write_png(tmp_path / f"in/{index}.png", image)
    assert score(spec, tmp_path / "in", tmp_path / "out", "--keep", "all") == 0
    for row, image in zip(read_rows(tmp_path / "out"), pixels, strict=True):
        assert row["image"] == {"data": image.reshape(-1).tolist(), "shape": list(image.shape)}


def test_strings_by_another_name(made, tmp_path: Path):
    spec, reference = made(strings_saved_model)
    words = [word.decode() for word in reference.rows(40)["word"]]
    path = write_parquet(
        tmp_path / "in.parquet", {"animal": np.array(words), "place": np.array(["x"] * 40)}
    )
    assert score(spec, path, tmp_path / "out", "--input_map", "word=animal") == 0
    found = read_rows(tmp_path / "out")
    expected = reference(reference.rows(40))
    assert set(found[0]) == {"place", "index", "score", "upper", "_source", "_row"}
    np.testing.assert_array_equal(column(found, "index"), expected["index"])
    np.testing.assert_array_equal(column(found, "upper"), expected["upper"])


def test_weights_and_their_builder(made, tmp_path: Path):
    spec, reference = made(mlp_weights)
    rows = reference.rows(20)
    path = write_parquet(tmp_path / "in.parquet", rows)
    assert score(spec, path, tmp_path / "out", "--builder", "tests.models:build_mlp") == 0
    found = read_rows(tmp_path / "out")
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)


def test_an_image_size_for_a_model_of_any_size(made, tmp_path: Path):
    import tensorflow as tf

    spec, reference = made(any_size_model)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    path = write_png(tmp_path / "in.png", pixels)
    assert score(spec, path, tmp_path / "as_it_is") == 0
    assert score(spec, path, tmp_path / "resized", "--image_size", "6,4") == 0
    for name, image in (("as_it_is", pixels), ("resized", tf.image.resize(pixels, (6, 4)))):
        expected = reference({"pixels": np.asarray(image, np.float32)[np.newaxis]})["means"]
        found = column(read_rows(tmp_path / name), "means")
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_flags_of_the_engine_reach_it(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(20)
    path = write_parquet(tmp_path / "in.parquet", rows)
    half = ("--precision", "mixed_bfloat16")
    assert score(spec, path, tmp_path / "half", *half) == 0
    found = column(read_rows(tmp_path / "half"), "scores")
    np.testing.assert_allclose(found, reference(rows)["scores"], atol=0.02)
    assert np.abs(found - reference(rows)["scores"]).max() > 1e-5
    assert score(spec, path, tmp_path / "xla", "--xla", "--devices", "CPU:0") == 0
    found = column(read_rows(tmp_path / "xla"), "scores")
    np.testing.assert_allclose(found, reference(rows)["scores"], atol=1e-5)


def test_custom_objects_and_code_in_the_model(made, tmp_path: Path, capsys):
    spec, reference = made(custom_layer_keras)
    rows = reference.rows(10)
    path = write_parquet(tmp_path / "in.parquet", rows)
    objects = ("--custom_objects", "Scaled=tests.layers:Scaled")
    assert score(spec, path, tmp_path / "out", *objects) == 0
    found = column(read_rows(tmp_path / "out"), "y")
    np.testing.assert_allclose(found, reference(rows)["y"], rtol=1e-5)

    spec, reference = made(lambda_model)
    assert score(spec, path, tmp_path / "refused") == 2
    assert "--trust_model" in capsys.readouterr().err
    assert score(spec, path, tmp_path / "trusted", "--trust_model") == 0
    found = column(read_rows(tmp_path / "trusted"), "y")
    np.testing.assert_allclose(found, rows["x"] + 1, rtol=1e-6)


# Columns of the output.


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ((), ["id", "scores", "scores_predicted", "_source", "_row"]),
        (("--keep", "none"), ["scores_predicted", "_source", "_row"]),
        (("--keep", "id"), ["id", "scores_predicted", "_source", "_row"]),
        (("--keep", "all"), ["features", "id", "scores", "scores_predicted", "_source", "_row"]),
        (("--provenance", "off"), ["id", "scores", "scores_predicted"]),
    ],
)
def test_kept_columns_and_namesakes(made, tmp_path: Path, flags, names: list[str]):
    spec, reference = made(mlp_keras)
    columns = {"id": np.arange(5), **reference.rows(5), "scores": np.arange(5) * 10}
    path = write_parquet(tmp_path / "in.parquet", columns)
    assert score(spec, path, tmp_path / "out", *flags) == 0
    found = read_rows(tmp_path / "out")
    assert sorted(found[0]) == sorted(names)
    if "id" in names:
        np.testing.assert_array_equal(column(found, "id"), np.arange(5))


# Bad rows and empty inputs.


def test_bad_rows_cost_themselves_alone(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(40)
    lines: list[Any] = [
        {"id": i, "features": row.tolist()} for i, row in enumerate(rows["features"])
    ]
    lines[3] = {"id": 3, "features": None}
    lines[10] = {"id": 10, "features": [1.0, 2.0]}
    lines[11] = "{not json"
    lines[30] = {"id": 30}
    path = write_jsonl(tmp_path / "in.jsonl", lines)
    assert score(spec, path, tmp_path / "out") == 0
    assert succeeded(tmp_path / "out", 40, failed=4)
    found = read_rows(tmp_path / "out")
    good = [i for i in range(40) if i not in (3, 10, 11, 30)]
    assert [row["id"] for row in found] == good
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"][good], atol=1e-6)
    failed = {row["_row"]: row for row in read_failed(tmp_path / "out")}
    assert [failed[i]["_stage"] for i in (3, 10, 11, 30)] == [
        "convert", "convert", "decode", "convert",
    ]  # fmt: skip
    assert failed[10]["features"] == [1.0, 2.0]
    assert failed[11]["record"] == b"{not json"


def test_rows_that_the_output_cannot_hold_fail_alone(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(6)
    lines = [
        {"id": i, "features": row.tolist(), "tags": [f"t{i}"] * (i % 3)}
        for i, row in enumerate(rows["features"])
    ]
    lines[1]["tags"] = ["a", None]
    path = write_jsonl(tmp_path / "in.jsonl", lines)
    assert score(spec, path, tmp_path / "out", "--output_format", "tfrecord") == 0
    assert succeeded(tmp_path / "out", 6, failed=1)
    good = [0, 2, 3, 4, 5]
    found = read_rows(tmp_path / "out", "tfrecord")
    assert [int(row["id"]) for row in found] == good
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"][good], atol=1e-6)
    [failed] = read_failed(tmp_path / "out")
    assert (failed["id"], failed["_stage"], failed["tags"]) == (1, "convert", ["a", None])
    assert failed["features"] == lines[1]["features"]
    assert "without nulls in column 'tags'" in failed["_message"]
    without = ("--output_format", "tfrecord", "--keep", "id")
    assert score(spec, path, tmp_path / "without", *without) == 0
    assert succeeded(tmp_path / "without", 6)


def test_failed_rows_are_an_input_of_their_own(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(3)["features"]
    lines = [{"id": 0, "features": rows[0].tolist()}, {"id": 1, "features": [1.0]}]
    path = write_jsonl(tmp_path / "in.jsonl", lines)
    assert score(spec, path, tmp_path / "out") == 0
    failed = tmp_path / "out/_mirrorbeam/failed"
    assert score(spec, failed, tmp_path / "again") == 0
    assert succeeded(tmp_path / "again", 1, failed=1)
    [row] = read_failed(tmp_path / "again")
    assert (row["id"], row["features"]) == (1, [1.0])


def test_too_many_failed_rows_fail_the_job(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    lines: list[Any] = [{"features": row.tolist()} for row in reference.rows(100)["features"]]
    lines[:11] = [{"features": [0.0]}] * 11
    path = write_jsonl(tmp_path / "in.jsonl", lines)
    assert score(spec, path, tmp_path / "out") == 1
    assert not succeeded(tmp_path / "out", 100, failed=11)
    assert len(read_rows(tmp_path / "out")) == 89
    flags = ("--max_failed_fraction", "0.2")
    assert score(spec, path, tmp_path / "out", *flags) == 0
    assert succeeded(tmp_path / "out", 100, failed=11)


@pytest.mark.parametrize("suffix", ["parquet", "tfrecord", "csv", "jsonl"])
def test_an_empty_input_succeeds_with_the_right_columns(made, tmp_path: Path, suffix: str):
    import pyarrow.parquet as pq

    spec, reference = made(mlp_keras)
    path = tmp_path / f"in.{suffix}"
    path.touch()
    if suffix == "parquet":
        pq.write_table(pq.read_table(write_parquet(path, reference.rows(1))).slice(0, 0), path)
    assert score(spec, path, tmp_path / "out") == 0
    assert succeeded(tmp_path / "out", 0)
    [part] = (tmp_path / "out").glob("part-*.parquet")
    table = pq.read_table(part)
    assert table.num_rows == 0
    assert table.schema.names == ["scores", "_source", "_row"]


def test_an_empty_file_between_full_ones(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(4)
    lines = [{"features": row.tolist()} for row in rows["features"]]
    write_jsonl(tmp_path / "in/a.jsonl", lines[:2])
    write_jsonl(tmp_path / "in/b.jsonl", [])
    write_jsonl(tmp_path / "in/c.jsonl", lines[2:])
    assert score(spec, tmp_path / "in", tmp_path / "out") == 0
    assert succeeded(tmp_path / "out", 4)
    found = read_rows(tmp_path / "out")
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)


# How the job runs.


def test_results_do_not_depend_on_replicas_batches_or_workers(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(200)
    for file in range(4):
        part = rows["features"][file * 50 : file * 50 + 50]
        write_parquet(tmp_path / f"in/{file}.parquet", {"features": part})
    ways = [
        ["--devices", "CPU:0", "--batch_size", "7"],
        ["--devices", "CPU:0,CPU:1,CPU:2", "--batch_size", "auto"],
        ["--devices", "CPU:0,CPU:1", "--batch_size", "64", "--direct_num_workers", "3"],
    ]
    for number, flags in enumerate(ways):
        output = tmp_path / f"out{number}"
        assert score(spec, tmp_path / "in", output, *flags) == 0
        assert succeeded(output, 200)
        found = read_rows(output)
        np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)
    assert read_report(tmp_path / "out1")["workers"][0]["replicas"] == 3


def test_the_first_split_is_committed_before_the_last_is_read(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec, reference = made(mlp_keras)
    monkeypatch.setattr(ShelfFileSystem, "root", tmp_path)
    events: list[tuple[str, str]] = []
    monkeypatch.setattr(ShelfFileSystem, "events", events)
    for file in range(8):
        write_parquet(tmp_path / f"in/{file}.parquet", reference.rows(200, seed=file))
    assert score(spec, "shelf://in", "shelf://out", "--direct_num_workers", "1") == 0
    read = [index for index, event in enumerate(events) if event[1].startswith("shelf://in/")]
    commits = [
        index
        for index, (what, path) in enumerate(events)
        if what == "appears" and path.startswith("shelf://out/_mirrorbeam/commits/")
    ]
    assert len(commits) == 8
    assert commits[0] < read[-1]


def test_model_input_and_output_on_another_filesystem(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec, reference = made(mlp_keras)
    monkeypatch.setattr(ShelfFileSystem, "root", tmp_path)
    monkeypatch.setenv("MIRRORBEAM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mlp.keras").write_bytes(Path(spec.path).read_bytes())
    rows = reference.rows(30)
    write_jsonl(tmp_path / "in/a.jsonl", [{"features": row.tolist()} for row in rows["features"]])
    arguments = ["--input", "shelf://in/*.jsonl", "--output", "shelf://out"]
    assert main(["score", "--model", "shelf://models/mlp.keras", *arguments, *CPUS]) == 0
    assert succeeded(tmp_path / "out", 30)
    found = read_rows(tmp_path / "out")
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)
    assert found[0]["_source"] == "shelf://in/a.jsonl"


def test_a_dry_run_prints_the_plan_and_leaves_no_trace(
    made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    spec, reference = made(mlp_keras)
    path = write_parquet(tmp_path / "in.parquet", {"id": np.arange(9), **reference.rows(9)})
    assert score(spec, path, tmp_path / "out", "--dry_run") == 0
    assert not (tmp_path / "out").exists()
    told = capsys.readouterr().out
    assert "parquet, 1 file" in told
    assert "9 rows, 1 split" in told
    assert "features → features: float32[?,8]" in told
    assert "id: int64, scores: fixed_size_list<item: float>[3], _source: string" in told


def test_overwriting_leaves_what_is_not_the_jobs_own(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    path = write_parquet(tmp_path / "in.parquet", reference.rows(9))
    assert score(spec, path, tmp_path / "out") == 0
    (tmp_path / "out/notes.txt").write_text("mine")
    write_parquet(tmp_path / "in.parquet", reference.rows(5))
    assert score(spec, path, tmp_path / "out", "--overwrite") == 0
    assert succeeded(tmp_path / "out", 5)
    assert len(read_rows(tmp_path / "out")) == 5
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_the_report_says_what_was_done(made, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, reference = made(mlp_keras)
    path = write_parquet(tmp_path / "in.parquet", reference.rows(100))
    flags = ("--batch_size", "50", "--no_wait_until_finish")
    assert score(spec, path, tmp_path / "out", *flags) == 0
    report = read_report(tmp_path / "out")
    assert report["arguments"]["model"] == spec.path
    assert report["batch_sizes"] == {"50": 2}
    assert report["devices"] == ["/device:CPU:0", "/device:CPU:1"]
    assert report["workers"][0]["model_loads"] >= 1
    told = capsys.readouterr().out
    assert "100 read, 100 predicted, 0 failed" in told
    assert str(tmp_path / "out") in told


def test_a_job_that_cannot_write_its_parts_fails_and_leaves_none(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(5000)
    path = write_parquet(tmp_path / "in.parquet", {"id": np.arange(5000), **rows})
    command = ["-m", "pipelines", "score", "--model", spec.path]
    command += ["--input", str(path), "--output", str(tmp_path / "out"), "--devices", "CPU:0"]

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = python(*command, check=False, preexec_fn=no_large_files)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [told] = [line for line in done.stderr.splitlines() if "the job failed" in line]
    assert f"the job failed: OSError: [Errno 27] File too large: '{tmp_path}/out' [while" in told
    assert "the same command goes on" in told
    files = [file.name for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert sorted(name for name in files if "-" not in name) == ["inputs.json", "plan.json"]
    [path] = (tmp_path / "out/_mirrorbeam/runs").iterdir()
    run = json.loads(path.read_text())
    assert run["exit_code"] == 1
    assert run["reason"] in told
    assert len(files) == 3


def test_the_command_in_a_process_of_its_own(made, tmp_path: Path):
    spec, reference = made(mlp_keras)
    rows = reference.rows(50)
    path = write_parquet(tmp_path / "in.parquet", rows)
    command = ["-m", "pipelines", "score", "--model", spec.path]
    command += ["--input", str(path), "--output", str(tmp_path / "out")]
    done = python(*command, "--logical_devices", "2")
    assert "50 read, 50 predicted, 0 failed" in done.stdout
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "out/_mirrorbeam/report.json").read_text())["devices"] == [
        "/device:CPU:0",
        "/device:CPU:1",
    ]
    found = read_rows(tmp_path / "out")
    np.testing.assert_allclose(column(found, "scores"), reference(rows)["scores"], atol=1e-6)
