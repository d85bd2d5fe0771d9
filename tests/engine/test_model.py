"""What a path holds, what a spec says, and the messages where either is wrong."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests import models
from transforms.engine.model import (
    ModelError,
    ModelSpec,
    import_object,
    model_digest,
    model_kind,
)

pytestmark = pytest.mark.usefixtures("logical_cpus")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, logical_cpus: int) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for factory in (
        models.mlp_keras,
        models.mlp_h5,
        models.mlp_weights,
        models.strings_saved_model,
    ):
        factory(folder)
    model = models.build_mlp()
    model.save_weights(folder / "plain.weights.h5")
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mlp.keras", "keras"),
        ("mlp.h5", "h5"),
        ("mlp.weights.h5", "weights"),
        ("strings", "saved_model"),
    ],
)
def test_kind_is_in_the_content(folder: Path, tmp_path: Path, name: str, kind: str) -> None:
    assert model_kind(str(folder / name)) == kind
    renamed = tmp_path / "anything.dat"
    (shutil.copytree if kind == "saved_model" else shutil.copyfile)(folder / name, renamed)
    assert model_kind(str(renamed)) == kind


def test_kind_of_an_unpacked_archive(folder: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(folder / "mlp.keras").extractall(tmp_path)
    assert model_kind(str(tmp_path)) == "keras"


def test_kind_of_old_weights(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    model.save_weights(tmp_path / "old.h5")
    assert model_kind(str(tmp_path / "old.h5")) == "weights"


def test_kind_of_a_subclassed_models_weights(tmp_path: Path) -> None:
    from tests.layers import Towers

    model = Towers()
    model({"left": np.ones((1, 3)), "right": np.ones((1, 2))})
    model.save_weights(tmp_path / "towers.weights.h5")
    assert model_kind(str(tmp_path / "towers.weights.h5")) == "weights"


def _text(path: Path) -> None:
    path.write_text("no model at all")


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")


def _hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["table"] = np.zeros(3)


def _broken_hdf5(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)


def _empty_file(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("write", "received"),
    [
        (_text, "a file that starts with b'no model'"),
        (_zip, "a file that starts with b'PK"),
        (_hdf5, "an HDF5 file that holds table"),
        (_broken_hdf5, "a broken HDF5 file"),
        (_empty_file, "a file that starts with b''"),
        (Path.mkdir, "a folder without saved_model.pb"),
    ],
)
def test_what_is_no_model(tmp_path: Path, write: Any, received: str) -> None:
    path = tmp_path / "model.keras"
    write(path)
    with pytest.raises(ModelError) as caught:
        model_kind(str(path))
    message = str(caught.value)
    assert message.startswith("expected a .keras or .h5 file")
    assert f"Received: {str(path)!r}, {received}" in message


def test_no_such_path(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.keras")
    for call in (model_kind, lambda path: model_digest(ModelSpec(path))):
        with pytest.raises(ModelError, match="No such file or directory") as caught:
            call(missing)
        assert repr(missing) in str(caught.value)


def test_unreadable_path(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.touch(mode=0o000)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(ModelError, match="Permission denied"):
        model_kind(str(path))


def test_near_misses_say_what_to_pass(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Pass the folder that it is in"):
        model_kind(str(folder / "strings" / "saved_model.pb"))
    shutil.copytree(folder / "strings", tmp_path / "served" / "1")
    with pytest.raises(ModelError, match="the SavedModels 1 in it. Pass one of them"):
        model_kind(str(tmp_path / "served"))


def test_digest_is_of_the_content(folder: Path, tmp_path: Path) -> None:
    spec = ModelSpec(str(folder / "mlp.keras"))
    plain = hashlib.sha256((folder / "mlp.keras").read_bytes()).hexdigest()
    assert model_digest(spec) == plain
    shutil.copytree(folder / "strings", tmp_path / "elsewhere")
    moved = ModelSpec(str(tmp_path / "elsewhere"))
    assert model_digest(moved) == model_digest(ModelSpec(str(folder / "strings")))
    with open(tmp_path / "elsewhere" / "assets" / "vocabulary.txt", "a") as file:
        file.write("\nwolf")
    assert model_digest(moved) != model_digest(ModelSpec(str(folder / "strings")))


def test_digest_sees_a_change_in_place(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    shutil.copyfile(folder / "mlp.keras", path)
    before = model_digest(ModelSpec(str(path)))
    shutil.copyfile(folder / "mlp.h5", path)
    assert model_digest(ModelSpec(str(path))) != before


def test_digest_sees_the_code_around_the_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "digested_builder.py"
    module.write_text("def build():\n    return 1\n")
    weights = str(folder / "mlp.weights.h5")
    first = model_digest(ModelSpec(weights, builder="digested_builder:build"))
    assert first == model_digest(ModelSpec(weights, builder="digested_builder:build"))
    assert first != model_digest(ModelSpec(weights))
    module.write_text("def build():\n    return 2\n")
    assert first != model_digest(ModelSpec(weights, builder="digested_builder:build"))
    named = ModelSpec(weights, custom_objects={"Scaled": "tests.layers:Scaled"})
    assert model_digest(named) != model_digest(ModelSpec(weights))


def test_digest_with_code_that_has_no_module_text(folder: Path) -> None:
    weights = str(folder / "mlp.weights.h5")
    for builder in (functools.partial(models.build_mlp), "no.such.module:build"):
        assert model_digest(ModelSpec(weights, builder=builder)) != model_digest(ModelSpec(weights))


def test_spec_travels_and_is_a_key(folder: Path) -> None:
    spec = ModelSpec(
        folder / "mlp.keras",  # type: ignore[arg-type]
        custom_objects={"Scaled": "tests.layers:Scaled"},
        trust=True,
    )
    assert spec.path == str(folder / "mlp.keras")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert len({spec, pickle.loads(pickle.dumps(spec))}) == 1
    assert ModelSpec.of(spec) is spec
    assert ModelSpec.of(folder / "mlp.keras") == ModelSpec(str(folder / "mlp.keras"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": 3}, "expected the model as a path. Received: int"),
        ({"path": "m", "builder": "build"}, "Pass --builder module:function"),
        ({"path": "m", "builder": 3}, "expected builder as an object or as 'module:name'"),
        (
            {"path": "m", "custom_objects": {"Scaled": "layers.Scaled"}},
            "Pass --custom_objects Scaled=module:name",
        ),
    ],
)
def test_bad_specs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec(**arguments)


def test_import_object() -> None:
    assert import_object("os:path.join", "it", "--it") is os.path.join
    for name, reason in (
        ("no_such_module_here:x", "No module named"),
        ("os:path.nothing", "has no attribute 'nothing'"),
    ):
        with pytest.raises(ModelError, match=reason) as caught:
            import_object(name, "builder", "--builder module:function")
        assert str(caught.value).startswith(
            f"expected builder to be importable. Received: {name!r}"
        )
