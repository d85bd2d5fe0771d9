"""Model files that would do more than compute, if they were let."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main
from tests.pipelines.inputs import write_parquet
from tests.processes import run_program
from transforms.engine.loading import load_model
from transforms.engine.model import ModelError, ModelSpec
from transforms.engine.read_signature import read_signature
from transforms.engine.replicas import open_replicas

pytestmark = pytest.mark.usefixtures("logical_cpus")


def refuse(spec: ModelSpec) -> None:
    """Both ways to look at a model refuse it."""
    with pytest.raises(ModelError):
        read_signature(spec)
    with pytest.raises(ModelError):
        load_model(spec, open_replicas(("CPU:0",)).strategy)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("nested", [False, True])
def test_code_in_a_lambda_layer_does_not_run(tmp_path: Path, suffix: str, nested: bool) -> None:
    import keras

    mark = tmp_path / "mark"
    path = tmp_path / f"model{suffix}"
    text = str(mark)
    lambda_layer = keras.layers.Lambda(lambda value: (open(text, "w").close(), value)[1])
    layers = [keras.Input((2,), name="x"), lambda_layer]
    if nested:
        layers = [layers[0], keras.Sequential(layers)]
    keras.Sequential(layers).save(path)
    mark.unlink(missing_ok=True)
    refuse(ModelSpec(str(path)))
    assert not mark.exists()
    write_parquet(tmp_path / "in/0.parquet", {"x": np.ones((1, 2), np.float32)})
    command = [f"--model={path}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    assert main(["score", *command]) == 2
    assert main(["inspect", str(path)]) == 2
    assert not mark.exists()
    # The file does what it is suspected of: it is not only refused for its looks.
    load_model(ModelSpec(str(path), trust=True), open_replicas(("CPU:0",)).strategy)
    assert mark.exists()


@pytest.mark.parametrize("reference", [
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"},
    {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "MARK"]},
     "registered_name": None},
    {"module": "builtins", "class_name": "eval", "config": {"source": "open('MARK', 'w')"},
     "registered_name": None},
], ids=lambda reference: reference["module"] + "." + str(reference["class_name"]))
def test_a_configuration_cannot_name_what_is_not_a_layer(tmp_path: Path, reference: dict) -> None:
    import keras

    mark = tmp_path / "mark"
    whole, forged = tmp_path / "whole.keras", tmp_path / "forged.keras"
    keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(1)]).save(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(forged, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                text = json.dumps(reference).replace("MARK", str(mark))
                config["config"]["layers"][1]["config"]["activation"] = json.loads(text)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    with pytest.raises(ModelError):
        load_model(ModelSpec(str(forged)), open_replicas(("CPU:0",)).strategy)
    assert not mark.exists()


_EXPORT = """
import sys, tensorflow as tf
folder, mark, what = sys.argv[1:]

def python(x):
    open(mark, "w").close()
    return x

class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def serve(self, x):
        if what == "python":
            y = tf.ensure_shape(tf.py_function(python, [x], tf.float32), [None, 2])
        else:
            with tf.control_dependencies([tf.io.write_file(mark, "x")]):
                y = tf.identity(x)
        return {"y": y}

model = Model()
tf.saved_model.save(model, folder, signatures={"serving_default": model.serve})
"""


@pytest.mark.parametrize(("what", "operation"), [("python", "EagerPyFunc"), ("write", "WriteFile")])
def test_what_a_saved_model_reaches_for_is_named(
    tmp_path: Path, what: str, operation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "model"
    export = [sys.executable, "-c", _EXPORT, str(folder), str(mark), what]
    run_program(export)
    mark.unlink(missing_ok=True)
    assert main(["inspect", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert f"its graph reads or writes files or calls Python: {operation}" in shown
    # Looking at it runs none of it.
    assert not mark.exists()


def test_a_saved_model_without_them_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.models import mlp_export

    spec, _ = mlp_export(tmp_path)
    assert main(["inspect", spec.path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file_operations"] == []


def test_weights_need_a_builder_that_the_user_names(tmp_path: Path) -> None:
    from tests.models import mlp_weights

    spec, _ = mlp_weights(tmp_path)
    refuse(ModelSpec(spec.path))
