"""What is refused before a worker starts: exit code 2, one paragraph, nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from tests.models import mlp_keras, multi_keras, strings_saved_model
from tests.pipelines.inputs import write_jsonl, write_parquet, write_png

pytestmark = pytest.mark.usefixtures("logical_cpus")

PREPARE = """
import tensorflow as tf


def stack(a, b):
    return a


def image(image):
    return image


def deeper(features):
    return features[:, None]


def fewer(id):
    return tf.repeat(tf.cast(id, tf.float32)[:, None], 8, axis=1)[:3]


def narrower(id):
    return tf.cast(id, tf.float32)[:, None] + tf.zeros([3])
"""


@pytest.fixture(scope="module")
def place(logical_cpus: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, inputs and code."""
    folder = tmp_path_factory.mktemp("validation")
    _, mlp = mlp_keras(folder)
    multi_keras(folder)
    strings_saved_model(folder)
    two_channels(folder)
    free_size(folder)
    (folder / "text.keras").write_text("no model")
    (folder / "prepare.py").write_text(PREPARE)
    write_parquet(folder / "good/rows.parquet", {"id": np.arange(4), **mlp.rows(4)})
    write_parquet(folder / "short.parquet", {"features": np.zeros((4, 3), np.float32)})
    write_parquet(folder / "words.parquet", {"features": np.array(["a", "b"])})
    write_parquet(folder / "ids.parquet", {"id": np.arange(4)})
    origins = pa.table({"features": [[0.0] * 8], "_source": ["x"]})
    pq.write_table(origins, folder / "origins.parquet")
    (folder / "garbage.parquet").write_bytes(b"garbage")
    write_jsonl(folder / "mixed/rows.jsonl", [{"features": [0.0] * 8}])
    write_parquet(folder / "mixed/rows.parquet", mlp.rows(1))
    (folder / "rows.unknown").write_text("x")
    write_png(folder / "pictures/a.png", np.zeros((8, 8, 3), np.uint8))
    (folder / "foreign").mkdir()
    (folder / "foreign/notes.txt").write_text("mine")
    (folder / "file").write_text("mine")
    return folder


def two_channels(folder: Path) -> None:
    import keras

    pixels = keras.Input((8, 8, 2), name="pixels")
    keras.Model(pixels, keras.layers.Flatten()(pixels)).save(folder / "two_channels.keras")


def free_size(folder: Path) -> None:
    import keras

    pixels = keras.Input((None, 8, 3), name="pixels")
    pooled = keras.layers.GlobalAveragePooling2D()(pixels)
    keras.Model(pixels, pooled).save(folder / "free_size.keras")


CASES: list[tuple[dict[str, str], list[str]]] = [
    # The model.
    ({"model": "absent.keras"}, ["absent.keras", "No such file"]),
    ({"model": "text.keras"}, ["expected a .keras or .h5 file", "text.keras"]),
    ({"model": "strings", "signature": "predict"}, ["predict", "serving_default"]),
    ({"signature": "predict"}, ["expected a SavedModel", "predict", "Leave --signature out"]),
    ({"model": "strings", "precision": "float32"}, ["SavedModel", "--precision"]),
    ({"builder": "tests.models:no_such_function"}, ["no_such_function", "--builder"]),
    ({"custom_objects": "Scale=no_such_module:Scale"}, ["no_such_module"]),
    # The input.
    ({"input": "absent/*.parquet"}, ["matches none", "absent/*.parquet"]),
    ({"input": "mixed"}, ["files of one format", "rows.jsonl", "rows.parquet"]),
    ({"input": "rows.unknown"}, ["rows.unknown", "--input_format"]),
    ({"input": "garbage.parquet"}, ["garbage.parquet"]),
    ({"input": "origins.parquet"}, ["_source", "origins.parquet"]),
    # Columns.
    ({"input": "ids.parquet"}, ["expected column 'id' as float32[?,8]. Received: int64"]),
    ({"input": "short.parquet", "input_format": "parquet", "input_map": "features=feature"}, [
        "expected column 'feature'", "Received: features",
    ]),
    ({"input": "words.parquet"}, ["expected column 'features' as float32[?,8]", "string"]),
    ({"model": "multi.keras"}, ["expected column 'marks' as float32[?,4]", "--input_map"]),
    ({"input_map": "feature=id"}, ["expected a map of the model's inputs features", "'feature'"]),
    ({"input_map": "features=id"}, ["expected column 'id' as float32[?,8]", "int64"]),
    ({"keep": "id,name"}, ["expected the columns to keep among", "Received: name. Correct --keep"]),
    # Preprocessing and images.
    ({"preprocess": "{place}/absent.py:f"}, ["expected a readable Python file"]),
    ({"preprocess": "{place}/prepare.py:stack"}, ["expected column 'a'", "Received: id"]),
    ({"preprocess": "{place}/prepare.py:image", "input_map": "features=id"}, [
        "one of --preprocess and --input_map",
    ]),
    ({"preprocess": "{place}/prepare.py:image", "image_size": "8,8"}, [
        "one of --preprocess and --image_size",
    ]),
    ({"image_size": "8,8"}, ["one input of images", "features: float32[?,8]"]),
    ({"model": "two_channels.keras", "input": "pictures"}, ["1, 3 or 4 channels", "8,8,2"]),
    ({"model": "free_size.keras", "input": "pictures", "image_size": "9,9"}, [
        "an --image_size that the model takes. Received: 9,9 for pixels: float32[?,?,8,3]",
    ]),
    ({"preprocess": "{place}/prepare.py:deeper"}, [
        "expected the model to take features", "(None, 1, None)",
    ]),
    ({"preprocess": "{place}/prepare.py:fewer"}, ["'scores' with one entry for each row"]),
    ({"preprocess": "{place}/prepare.py:narrower"}, [
        "expected preprocess to return 'features' as float32[?,8]. Received: float32[?,3]",
    ]),
    # The output.
    ({"output": "file"}, ["which is a file"]),
    ({"output": "foreign"}, ["notes.txt", "--overwrite does not touch what is not its own"]),
    ({"output": "good"}, ["apart from the input"]),
    ({"output": "good/out"}, ["lies under the input"]),
    ({"output": "."}, ["contains the input"]),
    ({"output": "file/out"}, ["expected an output folder that can be written"]),
    # Devices and Beam.
    ({"devices": "GPU:7"}, ["expected devices among CPU:0", "Received: GPU:7"]),
    ({"devices": "CPU:0,CPU:0"}, ["expected each device once"]),
    ({"runner": "NoSuchRunner"}, ["NoSuchRunner"]),
    ({"direct_num_workers": "many"}, ["--direct_num_workers", "'many'"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_a_wrong_command_is_refused_and_explained(
    place: Path, changes: dict[str, str], expected: list[str],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(place)
    flags = {"model": "mlp.keras", "input": "good", "output": "new/out"} | changes
    arguments = [f"--{name}={value.format(place=place)}" for name, value in flags.items()]
    before = listing(place)
    assert main(["score", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("mirrorbeam: ")
    assert message.count("\n") == 1
    for text in expected:
        assert text in message
    assert listing(place) == before


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_an_output_of_another_job_is_refused_without_overwrite(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--model", str(place / "mlp.keras"), "--input", str(place / "good")]
    arguments += ["--output", str(tmp_path / "out"), "--devices", "CPU:0"]
    assert main(["score", *arguments]) == 0
    before = listing(tmp_path)
    assert main(["score", *arguments, "--provenance", "off"]) == 2
    told = capsys.readouterr().err
    assert "Received another one: --provenance (on → off); as planned" in told
    assert "--overwrite" in told
    assert listing(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_the_right_to_write_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "closed").mkdir(mode=0o500)
    arguments = ["--model", str(place / "mlp.keras"), "--input", str(place / "good")]
    assert main(["score", *arguments, "--output", str(tmp_path / "closed/out")]) == 2
    assert "can be written" in capsys.readouterr().err


def test_portable_runners_get_flags_that_beam_does_not_declare():
    from pipelines.beam_options import pipeline_options

    options = pipeline_options(["--runner=FlinkRunner", "--flink_conf_dir=/etc/flink"])
    assert options.get_all_options(retain_unknown_options=True)["flink_conf_dir"] == "/etc/flink"


def test_the_default_runner_is_pinned():
    from apache_beam.options.pipeline_options import StandardOptions

    from pipelines.beam_options import pipeline_options

    assert pipeline_options([]).view_as(StandardOptions).runner == "FnApiRunner"
    named = pipeline_options(["--runner", "DirectRunner"])
    assert named.view_as(StandardOptions).runner == "DirectRunner"


@pytest.mark.parametrize(
    ("flags", "place_of_workers", "portable"),
    [
        ([], "process", False),
        (["--runner=DirectRunner"], "process", False),
        (["--runner=direct"], "process", False),
        (["--direct_running_mode=multi_processing"], "machine", False),
        (["--runner=FlinkRunner"], "elsewhere", True),
        (["--runner=apache_beam.runners.portability.flink_runner.FlinkRunner"], "elsewhere", True),
        (["--runner=prism"], "process", True),
        (["--runner=DataflowRunner"], "elsewhere", False),
    ],
)
def test_runners_are_known_by_all_their_names(
    flags: list[str], place_of_workers: str, portable: bool
):
    from pipelines.beam_options import is_portable, pipeline_options, runner_of, worker_place

    assert worker_place(pipeline_options(flags)) == place_of_workers
    assert is_portable(runner_of(flags)) == portable


@pytest.mark.parametrize(("devices", "logical", "expected"), [
    ("all", None, ("CPU:0", "CPU:1", "CPU:2", "CPU:3")),
    ("all", 2, ("CPU:0", "CPU:1")),
    (("cpu:1", "/device:CPU:3"), None, ("CPU:1", "CPU:3")),
])  # fmt: skip
def test_devices_that_are_there(devices: Any, logical: int | None, expected: tuple[str, ...]):
    from pipelines.device_check import check_devices

    assert check_devices(devices, logical) == expected


def test_a_gpu_that_tensorflow_does_not_see_is_refused(monkeypatch: pytest.MonkeyPatch):
    from pipelines import device_check
    from transforms.engine.replicas import DeviceError

    seen: Callable[[], bool] = lambda: True  # noqa: E731
    monkeypatch.setattr(device_check, "nvidia_device_present", seen)
    with pytest.raises(DeviceError, match="no GPU from TensorFlow"):
        device_check.check_devices("all", None)
    assert device_check.check_devices(("CPU:0",), None) == ("CPU:0",)
