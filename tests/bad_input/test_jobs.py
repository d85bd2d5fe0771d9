"""Bad files through the whole command: exit codes, rows, failed rows and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import main
from tests.bad_input.cases import loop
from tests.bad_input.sound import csv_text, image, json_lines, parquet, table, write_sound
from tests.pipelines.outputs import read_failed, read_rows

pytestmark = pytest.mark.usefixtures("logical_cpus")


@pytest.fixture(scope="module")
def models(logical_cpus: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model that adds up what it gets, for each shape of input."""
    import keras

    folder = tmp_path_factory.mktemp("models")
    shapes = {"vector": (3,), "number": (1,), "pixels": (8, 8, 3)}
    for name, shape in shapes.items():
        given = keras.Input(shape, name="pixels" if name == "pixels" else "x")
        flat = keras.layers.Flatten()(given)
        ones = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="total")
        keras.Model(given, ones(flat)).save(folder / f"{name}.keras")
    return {name: str(folder / f"{name}.keras") for name in shapes}


def score(model: str, given: Path, out: Path, *flags: str) -> int:
    places = ["--model", model, "--input", str(given), "--output", str(out)]
    return main(["score", *places, "--devices", "CPU:0", "--batch_size", "8", *flags])


def three(folder: Path, name: str, suffix: str, damaged: Any) -> Path:
    """A folder with a damaged file between two sound ones."""
    folder.mkdir()
    for letter in "ac":
        write_sound(name, folder / f"{letter}{suffix}")
    (folder / f"b{suffix}").write_bytes(damaged)
    return folder


def scored(out: Path) -> list[tuple[str, int]]:
    return [(Path(row["_source"]).name, row["_row"]) for row in read_rows(out)]


def failed(out: Path) -> list[tuple[str, int, str, str]]:
    return [
        (Path(row["_source"]).name, row["_row"], row["_stage"], row["_error"])
        for row in read_failed(out)
    ]


def rows(letter: str, *numbers: int) -> list[tuple[str, int]]:
    return [(letter, number) for number in numbers]


def test_a_parquet_file_with_other_columns_fails_alone(models, tmp_path: Path) -> None:
    twice = table().append_column("n", table().column("n"))
    given = three(tmp_path / "in", "parquet", ".parquet", parquet(twice))
    assert score(models["vector"], given, tmp_path / "out") == 0
    assert scored(tmp_path / "out") == rows("a.parquet", *range(4)) + rows("c.parquet", *range(4))
    assert failed(tmp_path / "out") == [("b.parquet", row, "read", "KeyError") for row in range(4)]


def test_long_and_deep_json_lines_fail_alone(models, tmp_path: Path) -> None:
    deep = b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    given = three(
        tmp_path / "in", "jsonl", ".jsonl",
        json_lines({1: {"text": "a" * 40_000}, 2: deep}),
    )  # fmt: skip
    assert score(models["vector"], given, tmp_path / "out", "--max_record_bytes", "32KiB") == 0
    assert [row for row in scored(tmp_path / "out") if row[0] == "b.jsonl"] == rows("b.jsonl", 0, 3)
    assert failed(tmp_path / "out") == [
        ("b.jsonl", 1, "read", "RecordSizeError"), ("b.jsonl", 2, "decode", "JsonError"),
    ]  # fmt: skip
    totals = [row["total"][0] for row in read_rows(tmp_path / "out")]
    np.testing.assert_allclose(totals[:4], [r + 0.5 for r in range(4)], rtol=1e-6)


def test_large_images_fail_alone(models, tmp_path: Path) -> None:
    given = three(tmp_path / "in", "images", ".png", image(40, 50))
    assert score(models["pixels"], given, tmp_path / "out", "--max_image_pixels", "1999") == 0
    assert scored(tmp_path / "out") == rows("a.png", 0) + rows("c.png", 0)
    assert failed(tmp_path / "out") == [("b.png", 0, "decode", "ImageError")]


def test_csv_of_zeros_is_a_failed_row(models, tmp_path: Path) -> None:
    given = three(tmp_path / "in", "csv", ".csv", bytes(300))
    assert score(models["number"], given, tmp_path / "out") == 0
    assert scored(tmp_path / "out") == rows("a.csv", *range(4)) + rows("c.csv", *range(4))
    assert failed(tmp_path / "out") == [("b.csv", 0, "read", "DamagedFileError")]


def test_what_cannot_be_read_at_all_is_refused(
    models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = three(tmp_path / "in", "csv", ".csv", csv_text())
    (given / "b.csv").unlink()
    loop(given / "b.csv")
    assert score(models["number"], given, tmp_path / "out") == 2
    assert "Too many levels of symbolic links" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_limits_make_another_job(
    models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = three(tmp_path / "in", "csv", ".csv", csv_text())
    assert score(models["number"], given, tmp_path / "out") == 0
    assert score(models["number"], given, tmp_path / "out", "--max_record_bytes", "9KiB") == 2
    told = capsys.readouterr().err
    assert "max_record_bytes" in told, told
