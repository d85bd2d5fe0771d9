"""A Keras model file as it lies there: its configuration, read and rewritten without Keras."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import zipfile
from typing import Any, Literal

from transforms.engine.keras_config import Config, objects
from transforms.engine.model import ModelError

# Keras chooses how to read a file by its suffix.
_SUFFIXES = {"keras": ".keras", "h5": ".h5"}


@dataclasses.dataclass(frozen=True)
class KerasFile:
    """What a whole-model file says of itself.

    Attributes:
      path: where it is.
      kind: a Keras 3 archive (or its folder), or an HDF5 file.
      config: the model's serialized object, with `class_name` and `config`.
      keras_version: of the Keras that wrote it; empty where it does not say.
    """

    path: str
    kind: Literal["keras", "h5"]
    config: Config
    keras_version: str

    @property
    def is_keras_2(self) -> bool:
        """Whether Keras 2 or older wrote it."""
        return self.keras_version.partition(".")[0] in ("", "1", "2")

    @property
    def inner_config(self) -> Config:
        """What the model's class was made from; empty where it is not a dict."""
        inner = self.config.get("config")
        if isinstance(inner, list):  # Sequential models of Keras 1 are a bare list of layers.
            return {"layers": inner}
        return inner if isinstance(inner, dict) else {}


def read_keras_file(path: str, kind: Literal["keras", "h5"]) -> KerasFile:
    """Reads a file's configuration.

    Raises:
      ModelError: it holds none that can be read.
    """
    try:
        config, version = _read_archive(path) if kind == "keras" else _read_hdf5(path)
        if not isinstance(config, dict) or "class_name" not in config:
            raise ValueError("its configuration names no class")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"expected a Keras model with a configuration in JSON. Received: {path!r}, whose "
            f"configuration cannot be read ({error}). Save the model again."
        ) from error
    return KerasFile(path, kind, config, version)


def _read_archive(path: str) -> tuple[Any, str]:
    parts = {}
    for name in ("config.json", "metadata.json"):
        if os.path.isdir(path):
            with open(os.path.join(path, name), "rb") as file:
                parts[name] = json.load(file)
        else:
            with zipfile.ZipFile(path) as archive:
                parts[name] = json.loads(archive.read(name))
    return parts["config.json"], str(parts["metadata.json"].get("keras_version", ""))


def _read_hdf5(path: str) -> tuple[Any, str]:
    import h5py

    with h5py.File(path, "r") as file:
        config, version = file.attrs["model_config"], file.attrs.get("keras_version", "")
    text = version.decode() if isinstance(version, bytes) else str(version)
    return json.loads(config), text


def code_layers(config: Config) -> list[str]:
    """Names of the layers whose Python code, or whose model, comes out of the file.

    Loading such a layer runs what the file's author wrote. A Lambda layer around a function
    that is only named does not count: the function comes from `custom_objects`.
    """
    found = []
    for layer in objects(config):
        inner = layer.get("config")
        if layer["class_name"] == "TFSMLayer" or (
            layer["class_name"] == "Lambda" and isinstance(inner, dict) and _holds_code(inner)
        ):
            found.append(str((inner or {}).get("name", layer["class_name"])))
    if not found and any(layer["class_name"] == "__lambda__" for layer in objects(config)):
        found.append("lambda")
    return found


def _holds_code(layer: Config) -> bool:
    held = [layer.get(key) for key in ("function", "output_shape", "mask")]
    if any(inner["class_name"] == "__lambda__" for inner in objects(held)):
        return True
    # Keras 2 wrote compiled code as a list that starts with its text, in base 64.
    types = [layer.get(f"{key}_type") for key in ("function", "output_shape", "mask")]
    return "lambda" in types or isinstance(layer.get("function"), list)


def file_for_keras(file: KerasFile, config: Config, folder: str) -> str:
    """A path that Keras reads as what the file is, with this configuration.

    Costs nothing but a link where the configuration is the file's own; else the file is
    copied, weights and all.

    Args:
      file: the model's file.
      config: its configuration, perhaps rewritten.
      folder: an empty folder to put the link or copy in.
    """
    suffix = _SUFFIXES[file.kind]
    if config == file.config:
        is_named_right = file.path.endswith(suffix) or os.path.isdir(file.path)
        return file.path if is_named_right else linked(file.path, suffix, folder)
    target = os.path.join(folder, f"rewritten{suffix}")
    if file.kind == "h5":
        import h5py

        shutil.copyfile(file.path, target)
        with h5py.File(target, "r+") as copied:
            copied.attrs["model_config"] = json.dumps(config).encode()
    elif os.path.isdir(file.path):
        target = os.path.join(folder, "rewritten")  # Keras takes a folder with a suffix for a file.
        shutil.copytree(file.path, target, copy_function=_link, symlinks=True)
        os.remove(os.path.join(target, "config.json"))
        with open(os.path.join(target, "config.json"), "w") as text:
            json.dump(config, text)
    else:
        _copy_archive(file.path, target, json.dumps(config).encode())
    return target


def linked(path: str, suffix: str, folder: str) -> str:
    """A link to a file under a name with this suffix."""
    target = os.path.join(folder, f"linked{suffix}")
    _link(path, target)
    return target


def _link(path: str, target: str) -> None:
    os.symlink(os.path.abspath(path), target)


def _copy_archive(path: str, target: str, config: bytes) -> None:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copied:
        for entry in source.infolist():
            if entry.filename == "config.json":
                copied.writestr("config.json", config)
                continue
            name = zipfile.ZipInfo(entry.filename, entry.date_time)
            with source.open(entry) as data, copied.open(name, "w", force_zip64=True) as out:
                shutil.copyfileobj(data, out, 1 << 20)
