"""`mirrorbeam tune`, run as the command runs it, and the jobs that come after it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.cli import main
from tests.models import examples_saved_model, mlp_h5, mlp_keras, sequence_keras
from tests.pipelines.inputs import example, write_parquet, write_records
from tests.pipelines.outputs import column, read_report, read_rows

pytestmark = pytest.mark.usefixtures("logical_cpus")

CPUS = ("--devices", "CPU:0,CPU:1")
STACK = """
import tensorflow as tf

def stack(f0, f1, f2, f3, f4, f5, f6, f7):
    return tf.cast(tf.stack([f0, f1, f2, f3, f4, f5, f6, f7], axis=1), tf.float32)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's sizes are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/mirrorbeam/tuning"


@pytest.fixture(scope="module")
def mlp(logical_cpus: int, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return mlp_keras(tmp_path_factory.mktemp("mlp"))


def tune(model: str, source: Path, *flags: str) -> int:
    return main(["tune", "--model", model, "--input", str(source), *CPUS, *flags])


def found(model: str, source: Path, *flags: str) -> dict[str, Any]:
    """What a command that succeeds writes as JSON.

    Its time is not up before the search: that takes seconds, on a busy machine minutes.
    """
    target = source.parent / "found.json"
    assert tune(model, source, "--tune_seconds", "900", "--json", str(target), *flags) == 0
    return dict(json.loads(target.read_text()))


def score(model: str, source: Path, output: Path, *flags: str) -> dict[str, Any]:
    places = ("--model", model, "--input", str(source), "--output", str(output))
    assert main(["score", *places, *CPUS, *flags]) == 0
    return read_report(output)


# What score makes of it.


def test_score_starts_with_the_size_that_was_found(mlp, tmp_path: Path, cache: Path):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(300))
    chosen = found(spec.path, source)["best"]["batch_size"]
    [kept] = cache.iterdir()
    assert json.loads(kept.read_text())["rows"] == chosen
    report = score(spec.path, source, tmp_path / "out")
    assert [worker["batch_rows"] for worker in report["workers"]] == [chosen]


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "preprocessed", "raw records"])
def test_score_looks_where_tune_saves(kind: str, tmp_path: Path, cache: Path):
    flags: list[str] = []
    if kind == "raw records":
        spec, reference = examples_saved_model(tmp_path)
        source = write_records(tmp_path / "in.tfrecord", reference.rows(50)["examples"].tolist())
    else:
        spec, reference = mlp_h5(tmp_path)
        rows = reference.rows(50)
        source = write_parquet(tmp_path / "in.parquet", {"id": np.arange(50), **rows})
        if kind == "tfrecord":
            records = [
                example(features=row, id=index) for index, row in enumerate(rows["features"])
            ]
            source = write_records(tmp_path / "in.tfrecord", records)
        if kind == "preprocessed":
            columns = {f"f{index}": values for index, values in enumerate(rows["features"].T)}
            source = write_parquet(tmp_path / "in.parquet", columns)
            (tmp_path / "prepare.py").write_text(STACK)
            flags = ["--preprocess", f"{tmp_path}/prepare.py:stack"]
    found(spec.path, source, *flags)
    [kept] = cache.iterdir()
    kept.write_text(json.dumps({"rows": 6}))
    report = score(spec.path, source, tmp_path / "out", *flags)
    assert report["batch_sizes"] == {"2": 1, "6": 8}
    kept.unlink()
    assert score(spec.path, source, tmp_path / "again", *flags, "--batch_size", "10")["predicted"]


def test_a_job_starts_with_a_size_in_its_folder(mlp, tmp_path: Path, cache: Path):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(50))
    score(spec.path, source, tmp_path / "out")
    # It closes the model: the next job loads it anew, as another process would.
    found(spec.path, source)
    [kept] = cache.iterdir()
    shared = tmp_path / "out/_mirrorbeam/tuning" / kept.name
    shared.parent.mkdir()
    shared.write_text(json.dumps({"rows": 6}))
    report = score(spec.path, source, tmp_path / "out", "--overwrite")
    assert [worker["batch_rows"] for worker in report["workers"]] == [6]
    assert not shared.exists()


# What is told.


def test_the_table_lists_sizes_and_marks_one(mlp, tmp_path: Path, capsys: Any):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(300))
    facts = found(spec.path, source)
    told = capsys.readouterr().out
    assert "input    parquet, 1 file; measured with 300 of the first 300 rows\n" in told
    assert re.search(r"^devices +CPU:0, CPU:1$", told, re.M)
    assert re.search(r"^ *batch +rows/s +peak bytes$", told, re.M)
    [candidate] = facts["candidates"]
    assert len(candidate["sizes"]) >= 3
    for size in candidate["sizes"]:
        mark = "  chosen" if size["rows"] == candidate["chosen"] else ""
        peak = "unknown" if size["peak_bytes"] is None else f"{size['peak_bytes']:,}"
        assert re.search(rf"^ *{size['rows']:,} +[0-9,.e+]+ +{peak}{mark}$", told, re.M)
    assert told.count("chosen") == 1
    assert candidate["differences"] == []
    assert f"best  as saved, {candidate['chosen']:,} rows a batch\n" in told
    assert f"elsewhere add --batch_size {candidate['chosen']})" in told


def test_rows_of_no_fixed_shape_are_not_saved(tmp_path: Path, cache: Path, capsys: Any):
    spec, reference = sequence_keras(tmp_path)
    rows = [example(sequence=row.reshape(-1)) for row in reference.rows(30)["sequence"]]
    rows += [example(sequence=[1.0] * 8)] * 3
    source = write_records(tmp_path / "in.tfrecord", rows)
    facts = found(spec.path, source)
    assert not facts["candidates"][0]["saved"]
    assert not cache.exists()
    told = capsys.readouterr().out
    assert "measured with 30 of the first 33 rows, of the commonest of 2 shapes" in told
    assert f"mirrorbeam score … --batch_size {facts['best']['batch_size']}" in told
    assert "rows have no fixed shape" in told


def test_a_search_that_the_time_cut_short_is_not_saved(mlp, tmp_path: Path, cache: Path, capsys):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(20))
    facts = found(spec.path, source, "--tune_seconds", "0.001")
    assert not facts["candidates"][0]["complete"]
    assert not cache.exists()
    assert "the time was up before the search: not saved" in capsys.readouterr().out


def test_rows_that_fail_are_left_out(tmp_path: Path, capsys: Any):
    spec, reference = examples_saved_model(tmp_path)
    records = reference.rows(30)["examples"].tolist()
    records[3] = records[20] = b"no example"
    source = write_records(tmp_path / "in.tfrecord", records)
    assert tune(spec.path, source, "--tune_seconds", "3") == 0
    assert "chosen" in capsys.readouterr().out


# Precisions and XLA.


def test_a_precision_within_the_tolerance_is_compared_and_saved(mlp, tmp_path: Path, cache: Path):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(400))
    facts = found(spec.path, source, "--try_precision", "mixed_bfloat16", "--tolerance", "0.05")
    own, tried = facts["candidates"]
    assert (own["name"], own["flags"], own["refused"]) == ("as saved", "", None)
    assert (tried["flags"], tried["refused"]) == ("--precision mixed_bfloat16", None)
    assert len(list(cache.iterdir())) == own["saved"] + tried["saved"]
    assert own["differences"][0]["largest"] == pytest.approx(0, abs=1e-6)
    score(spec.path, source, tmp_path / "out", "--precision", "mixed_bfloat16")
    scores = column(read_rows(tmp_path / "out"), "scores")
    expected = reference(reference.rows(400))["scores"]
    [difference] = tried["differences"]
    assert difference["rows"] > 16
    if difference["rows"] == 400:
        assert difference["largest"] == pytest.approx(np.abs(scores - expected).max(), rel=0.1)
        assert difference["mean"] == pytest.approx(np.abs(scores - expected).mean(), rel=0.1)
        same = (scores.argmax(axis=1) == expected.argmax(axis=1)).mean()
        assert difference["same_top_class"] == pytest.approx(same)


def test_a_precision_beyond_the_tolerance_is_refused(mlp, tmp_path: Path, cache: Path, capsys):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(100))
    facts = found(spec.path, source, "--try_precision", "mixed_bfloat16", "--tolerance", "1e-7")
    own, tried = facts["candidates"]
    assert tried["refused"].startswith("scores differs by up to")
    assert tried["sizes"], "a refused candidate is measured too"
    assert not tried["saved"]
    assert facts["best"]["name"] == "as saved"
    assert len(list(cache.iterdir())) == own["saved"]
    told = capsys.readouterr().out
    assert "mixed_bfloat16: refused, scores differs by up to" in told
    assert "best  as saved" in told
    assert "1e-07 of an output's magnitude is allowed" in told


def test_what_cannot_run_is_refused(mlp, tmp_path: Path, capsys: Any):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(30))
    facts = found(spec.path, source, "--try_xla", "--tune_seconds", "3")
    _, compiled = facts["candidates"]
    assert (compiled["name"], compiled["flags"]) == ("as saved, XLA", "--xla")
    assert compiled["refused"].startswith("cannot run: DeviceError: expected one CPU device")
    assert compiled["sizes"] == []
    assert "as saved, XLA: refused, cannot run" in capsys.readouterr().out


def test_compiled_on_one_device(mlp, tmp_path: Path):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(30))
    facts = found(spec.path, source, "--try_xla", "--tune_seconds", "4", "--devices", "CPU:0")
    _, compiled = facts["candidates"]
    assert compiled["refused"] is None
    assert compiled["sizes"]
    assert compiled["differences"][0]["largest"] < 1e-5


# Plots.


def test_a_plot_as_png(mlp, tmp_path: Path):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(30))
    target = tmp_path / "plots/tuned.png"
    assert tune(spec.path, source, "--tune_seconds", "2", "--plot", str(target)) == 0
    with Image.open(target) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (750, 1050, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_a_plot_as_svg(mlp, tmp_path: Path, capsys: Any):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(30))
    target = tmp_path / "tuned.SVG"
    assert tune(spec.path, source, "--tune_seconds", "2", "--plot", str(target)) == 0
    assert ElementTree.parse(target).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "rows per second" in target.read_text()
    assert f"plot  {target}\n" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_fails_after_the_table(mlp, tmp_path: Path, capsys: Any):
    spec, reference = mlp
    source = write_parquet(tmp_path / "in.parquet", reference.rows(30))
    (tmp_path / "file").write_text("mine")
    target = tmp_path / "file/below.json"
    assert tune(spec.path, source, "--tune_seconds", "1", "--json", str(target)) == 1
    assert "chosen" in capsys.readouterr().out


# Refusals.


def refusal(capsys: Any, model: str, source: Path, *flags: str) -> str:
    assert tune(model, source, *flags) == 2
    *_, message = capsys.readouterr().err.splitlines()
    assert message.startswith("mirrorbeam: ")
    assert "expected " in message
    return str(message)


def test_a_plot_needs_matplotlib(mlp, tmp_path: Path, capsys: Any, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refusal(capsys, mlp[0].path, tmp_path / "absent", "--plot", "x.png")
    assert "Install mirrorbeam[report], or leave --plot out." in message


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--plot", "tuned.pdf"], "a file name that ends with .png or .svg"),
        (["--tune_seconds", "0"], "a number of seconds above 0"),
        (["--tune_seconds", "soon"], "a number of seconds above 0"),
        (["--tolerance", "-1"], "a share from 0"),
        (["--tolerance", "nan"], "a share from 0"),
        (["--try_precision", "float64"], "names among float32, mixed_bfloat16, mixed_float16"),
        (["--output", "out"], "expected flags of mirrorbeam tune. Received: --output"),
        (["--devices", "GPU:7"], "expected devices among"),
        (["--input_map", "features=absent"], "absent"),
    ],
)
def test_wrong_flags(mlp, tmp_path: Path, capsys: Any, flags: list[str], expected: str):
    source = write_parquet(tmp_path / "in.parquet", mlp[1].rows(3))
    assert expected in refusal(capsys, mlp[0].path, source, *flags)


def test_inputs_without_a_row_that_fits(mlp, tmp_path: Path, capsys: Any):
    spec, _ = mlp
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"features": pa.array([], pa.list_(pa.float32()))}), empty)
    assert "Received: no rows (0 rows read)" in refusal(capsys, spec.path, empty)
    short = write_parquet(tmp_path / "short.parquet", {"features": np.zeros((2, 3), np.float32)})
    assert "(2 rows read)" in refusal(capsys, spec.path, short)


def test_rows_that_all_fail(tmp_path: Path, capsys: Any):
    spec, _ = examples_saved_model(tmp_path)
    source = write_records(tmp_path / "in.tfrecord", [b"no example"] * 5)
    message = refusal(capsys, spec.path, source)
    assert "expected rows that the model predicts." in message
    assert "(5 rows tried)" in message


def test_saved_models_have_one_precision(tmp_path: Path, capsys: Any):
    spec, reference = examples_saved_model(tmp_path)
    source = write_records(tmp_path / "in.tfrecord", reference.rows(3)["examples"].tolist())
    message = refusal(capsys, spec.path, source, "--try_precision", "mixed_bfloat16")
    assert "expected a Keras file for --try_precision" in message
