from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from pipelines.cli import main
from pipelines.inspect import accepted_columns
from tests.models import (
    examples_saved_model,
    mlp_keras,
    mlp_weights,
    multi_keras,
    tf1_saved_model,
)
from transforms.engine.model import model_digest
from transforms.engine.signature import TensorField

pytestmark = pytest.mark.usefixtures("logical_cpus")


def inspected(capsys: pytest.CaptureFixture[str], path: str, *flags: str) -> dict[str, Any]:
    assert main(["inspect", path, "--json", *flags]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_keras_file_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, _ = mlp_keras(tmp_path)
    facts = inspected(capsys, spec.path)
    assert facts["kind"] == "keras"
    assert facts["digest"] == model_digest(spec)
    assert facts["size_bytes"] == Path(spec.path).stat().st_size
    [features] = facts["inputs"]
    assert (features["name"], features["dtype"], features["shape"]) == ("features", "float32", [8])
    assert facts["outputs"] == [{"name": "scores", "dtype": "float32", "shape": [3]}]
    assert [variable["shape"] for variable in facts["variables"]] == [[8, 16], [16], [16, 3], [3]]
    assert facts["mirrored"] is True
    assert facts["bytes_per_device"] == 4 * (8 * 16 + 16 + 16 * 3 + 3)


def test_weights_and_their_builder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, _ = mlp_weights(tmp_path)
    facts = inspected(capsys, spec.path, "--builder", "tests.models:build_mlp")
    assert facts["kind"] == "weights"
    assert len(facts["variables"]) == 4


def test_a_saved_model_that_takes_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, _ = examples_saved_model(tmp_path)
    facts = inspected(capsys, spec.path)
    assert facts["signature"] == "serving_default"
    assert facts["takes_records"] is True
    assert [variable["shape"] for variable in facts["variables"]] == [[4]]


def test_a_model_without_variables(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def length(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"length": tf.strings.length(text)}

    module = tf.Module()
    module.length = length
    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": length})
    assert inspected(capsys, str(tmp_path / "model"))["variables"] == []


def test_a_model_that_is_not_mirrored(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, _ = tf1_saved_model(tmp_path)
    facts = inspected(capsys, spec.path)
    assert facts["mirrored"] is False
    assert "one copy of the model on each device" in facts["loading"]
    assert facts["variables"]


def test_text_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, _ = multi_keras(tmp_path)
    assert main(["inspect", spec.path]) == 0
    told = capsys.readouterr().out
    assert "  marks  float32[?,4]\n" in told
    assert "  risk  float32[?,1]\n" in told
    assert "marks  lists, flat or nested, of 4: bool, int8" in told
    assert "age  lists, flat or nested, of 1 (a scalar too)" in told
    assert "mirrored on every device, 2 in all" in told


@pytest.mark.parametrize(("dtype", "accepted", "refused"), [
    ("float32", {"bool", "uint8", "int64", "float16", "float64"}, {"string", "binary"}),
    ("int64", {"bool", "uint8", "int64"}, {"float32", "string"}),
    ("string", {"string", "binary"}, {"bool", "int64", "float32"}),
])  # fmt: skip
def test_accepted_columns(dtype: str, accepted: set[str], refused: set[str]):
    for shape in ((), (4,), (2, 2), None):
        found = set(accepted_columns(TensorField("x", dtype, shape)))
        assert accepted <= found
        assert not refused & found


def test_what_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "text.keras").write_text("no model")
    assert main(["inspect", str(tmp_path / "text.keras")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("mirrorbeam: expected a .keras or .h5 file")
    assert message.count("\n") == 1
