"""Which model to score with: a path, what kind of file it is, and what its content is."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Literal

ModelKind = Literal["keras", "h5", "weights", "saved_model"]
CustomObjects = Mapping[str, "type | Callable[..., Any] | str"]

# Dtype policies that a Keras file can be loaded with.
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_READ_BYTES = 1 << 20


class ModelError(ValueError):
    """A model that cannot be scored with: what was expected, what was received, what to do."""


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model on disk and what it takes to load it.

    Attributes:
      path: local path of a `.keras` or `.h5` file, a file of weights, or a SavedModel folder.
        What it is, its content says; the suffix does not matter.
      signature: which signature of a SavedModel; ``serving_default``, or the only one, if None.
      builder: for a file of weights: what makes the Keras model they belong to, as a function
        without arguments or its name ``"module:function"``.
      custom_objects: classes and functions that the file names, themselves or as
        ``"module:name"``.
      trust: whether code inside the file, such as a Lambda layer, may run.
    """

    path: str
    _: dataclasses.KW_ONLY
    signature: str | None = None
    builder: Callable[[], Any] | str | None = None
    custom_objects: CustomObjects | None = dataclasses.field(default=None, hash=False)
    trust: bool = False

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "path", os.fspath(self.path))
        except TypeError as error:
            raise ModelError(
                "expected the model as a path. "
                f"Received: {type(self.path).__name__}. Save the model and pass where it is."
            ) from error
        if self.signature is not None and not isinstance(self.signature, str):
            raise ModelError(f"expected signature as a name. Received: {self.signature!r}.")
        if not isinstance(self.trust, bool):
            raise ModelError(f"expected trust as True or False. Received: {self.trust!r}.")
        if not isinstance(self.custom_objects, (Mapping, type(None))):
            raise ModelError(
                "expected custom_objects as a dict. "
                f"Received: {type(self.custom_objects).__name__}. "
                "Pass {name: type or 'module:name'}."
            )
        if self.builder is not None and not callable(self.builder):
            _split_name(self.builder, "builder", "--builder module:function")
        for name, value in (self.custom_objects or {}).items():
            if not callable(value):
                flag = f"--custom_objects {name}=module:name"
                _split_name(value, f"custom object {name!r}", flag)

    @classmethod
    def of(cls, model: ModelSpec | str | os.PathLike[str]) -> ModelSpec:
        """The spec itself, or the one of a plain path."""
        return model if isinstance(model, ModelSpec) else cls(os.fspath(model))


def model_kind(path: str) -> ModelKind:
    """What the content at a path is, whatever its name.

    Returns:
      ``keras``: a Keras 3 archive, or its unpacked folder. ``h5``: a whole model in HDF5.
      ``weights``: HDF5 without a model's configuration. ``saved_model``: a SavedModel folder.

    Raises:
      ModelError: nothing readable is there, or something that is no model.
    """
    if os.path.isdir(path):
        return _kind_of_folder(path)
    try:
        with open(path, "rb") as file:
            start = file.read(len(_HDF5_MAGIC))
    except OSError as error:
        raise ModelError(
            f"expected a model file or a SavedModel folder that can be read. Received: {path!r} "
            f"({error.strerror or error}). Check the path and its permissions."
        ) from error
    if start == _HDF5_MAGIC:
        return _kind_of_hdf5(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "config.json" in archive.namelist():
                return "keras"
    if os.path.basename(path) in ("saved_model.pb", "saved_model.pbtxt"):
        raise _not_a_model(path, "one file of a SavedModel", "Pass the folder that it is in.")
    raise _not_a_model(path, f"a file that starts with {start!r}")


def _kind_of_folder(path: str) -> ModelKind:
    names = os.listdir(path)
    if "saved_model.pb" in names or "saved_model.pbtxt" in names:
        return "saved_model"
    if "config.json" in names and "model.weights.h5" in names:
        return "keras"
    below = sorted(
        name for name in names if os.path.isfile(os.path.join(path, name, "saved_model.pb"))
    )
    if below:
        raise _not_a_model(
            path, f"a folder with the SavedModels {', '.join(below)} in it", "Pass one of them."
        )
    raise _not_a_model(path, "a folder without saved_model.pb")


def _kind_of_hdf5(path: str) -> ModelKind:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "model_config" in file.attrs:
                return "h5"
            # Keras 2 names its layers in an attribute, Keras 3 calls each group of weights "vars".
            if "layer_names" in file.attrs or file.visit(_is_weights_group):
                return "weights"
            held = ", ".join(sorted(file)[:5]) or "nothing"
    except OSError as error:
        raise _not_a_model(path, f"a broken HDF5 file ({error})", "Save it again.") from error
    raise _not_a_model(path, f"an HDF5 file that holds {held}")


def _is_weights_group(name: str) -> bool | None:
    return name.rpartition("/")[2] == "vars" or None  # None lets h5py go on to the next name


def _not_a_model(path: str, received: str, remedy: str = "") -> ModelError:
    remedy = remedy or "Save the model with model.save('x.keras') or model.export('folder')."
    return ModelError(
        "expected a .keras or .h5 file, a .weights.h5 file with a builder, or a SavedModel folder. "
        f"Received: {path!r}, {received}. {remedy}"
    )


def model_digest(spec: ModelSpec) -> str:
    """A SHA-256 of the model's content, in hexadecimal: equal wherever the model lies.

    Of one file it is the file's own sum. A builder's and the custom objects' module text
    goes into it too, since it decides what the weights mean.

    Raises:
      ModelError: nothing readable is at the path.
    """
    content = _digest_of_files(spec.path, _file_states(spec.path))
    code = [f"builder={_code_of(spec.builder)}"] if spec.builder is not None else []
    for name, value in sorted((spec.custom_objects or {}).items()):
        code.append(f"{name}={_code_of(value)}")
    if not code:
        return content
    return hashlib.sha256("\n".join([content, *code]).encode()).hexdigest()


def _file_states(path: str) -> tuple[tuple[str, int, int], ...]:
    """Relative name, bytes and time of change of every file of a model."""
    if os.path.isdir(path):
        files = [
            os.path.relpath(os.path.join(folder, name), path)
            for folder, _, names in os.walk(path)
            for name in names
        ]
    else:
        files = [""]
    states = []
    for name in sorted(files):
        try:
            state = os.stat(os.path.join(path, name) if name else path)
        except OSError as error:
            raise ModelError(
                f"expected a model that can be read. Received: {path!r} "
                f"({error.strerror or error}). Check the path and its permissions."
            ) from error
        states.append((name, state.st_size, state.st_mtime_ns))
    return tuple(states)


@functools.lru_cache(maxsize=64)
def _digest_of_files(path: str, states: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, size_bytes, _ in states:
        if name:
            digest.update(f"{name}\0{size_bytes}\0".encode())
        with open(os.path.join(path, name) if name else path, "rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _code_of(value: Any) -> str:
    """The name of an object and a sum of the module text that defines it, where there is one."""
    source = None
    if isinstance(value, str):
        name = value
        with contextlib.suppress(ImportError):  # Loading says so, with the flag to pass.
            found = importlib.util.find_spec(value.partition(":")[0])
            source = found.origin if found else None
    else:
        kind = type(value)
        name = f"{getattr(value, '__module__', kind.__module__)}:"
        name += getattr(value, "__qualname__", kind.__qualname__)
        with contextlib.suppress(TypeError):  # What is no function or class has no source.
            source = inspect.getsourcefile(value)
    if source is None or not os.path.isfile(source):
        return name
    with open(source, "rb") as file:
        return f"{name} {hashlib.sha256(file.read()).hexdigest()}"


def import_object(name: str, what: str, flag: str) -> Any:
    """Imports what ``"module:name"`` stands for.

    Args:
      name: a module's full name, a colon, and a name in it, which may have dots.
      what: what it is to the user, for messages: ``builder``.
      flag: how the user gives it, for messages: ``--builder module:function``.

    Raises:
      ModelError: the name is not of that form, or does not lead to anything.
    """
    module_name, attribute = _split_name(name, what, flag)
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"expected {what} to be importable. Received: {name!r} ({error}). "
            f"Pass {flag} with a module that Python finds here."
        ) from error
    return found


def _split_name(name: Any, what: str, flag: str) -> tuple[str, str]:
    module, colon, attribute = str(name).partition(":")
    if not isinstance(name, str) or not (module and colon and attribute):
        raise ModelError(
            f"expected {what} as an object or as 'module:name'. Received: {name!r}. Pass {flag}."
        )
    return module, attribute
