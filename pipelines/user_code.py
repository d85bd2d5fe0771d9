"""Functions that the user names on the command line, as callables that travel with the job."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import linecache
import logging
import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.errors import CommandError

_LOG = logging.getLogger(__name__)


class UserCodeError(CommandError):
    """A named function is not there, or cannot be used as what it was named for."""


@dataclasses.dataclass(frozen=True)
class FileFunction:
    """A function of a Python file whose text travels with it: workers need not have the file.

    Attributes:
      filename: the file's base name, for tracebacks.
      text: the whole file.
      name: the function in it.
    """

    filename: str
    text: str
    name: str

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the function's result: the file's text and the name."""
        return _sha256(self.text, self.name)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_function_in_text(self.filename, self.text, self.name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, after running the file's text once per process."""
        return _function_in_text(self.filename, self.text, self.name)(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class ImportedFunction:
    """A function of a module that is installed wherever the job runs.

    Attributes:
      module: dotted name.
      name: the function in it.
      digest: SHA-256 of the module's text and the name, taken where the job was planned.
    """

    module: str
    name: str
    digest: str

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_function_in_module(self.module, self.name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, after importing its module."""
        return _function_in_module(self.module, self.name)(*args, **kwargs)


UserFunction = FileFunction | ImportedFunction


def load_function(reference: str) -> UserFunction:
    """The function that `file.py:function` or `package.module:function` names.

    The code is run or imported once, so that what is wrong with it shows now. Modules are
    looked up in the working folder too.

    Raises:
      UserCodeError: there is no such file, module or function, or its code fails.
    """
    origin, _, name = reference.rpartition(":")
    if not origin or not name.isidentifier():
        raise UserCodeError(
            "expected file.py:function or package.module:function. "
            f"Received: {reference!r}. Name the function after a colon."
        )
    function: UserFunction
    if origin.endswith(".py"):
        function = _from_file(Path(origin), name)
    else:
        function = _from_module(origin, name)
    function_parameters(function)
    return function


def function_digest(reference: str) -> str | None:
    """The digest of the function that `reference` names, from its text, which is not run.

    Returns:
      None where the text does not lie in a file that is found without running it.
    """
    origin, _, name = reference.rpartition(":")
    try:
        if origin.endswith(".py"):
            return FileFunction("", Path(origin).read_text(encoding="utf-8"), name).digest
        look_in_working_folder()
        spec = importlib.util.find_spec(origin)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        linecache.checkcache(spec.origin)
        return _sha256("".join(linecache.getlines(spec.origin)), name)
    except Exception as error:
        # Looking for a module runs the packages that it is in. Loading it says what is wrong.
        _LOG.debug("%s is not found without running it: %s", reference, error)
        return None


def function_parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters that have to be fed; those with a default are not.

    Raises:
      UserCodeError: there is none, or one that cannot be fed by name.
    """
    parameters = inspect.signature(function).parameters.values()
    name = getattr(function, "name", repr(function))
    unnamed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
    needed = tuple(
        p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    )
    if unnamed or not needed:
        raise UserCodeError(
            f"expected {name} to have one parameter for each column that it takes, named as "
            f"the column. Received: {name}{inspect.signature(function)}. Name its columns."
        )
    return needed


def look_in_working_folder() -> None:
    """Lets modules of the working folder be imported, as `python -m` does."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _from_file(path: Path, name: str) -> FileFunction:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserCodeError(
            f"expected a readable Python file. Received: {path} ({error}). "
            "Check the path before the colon."
        ) from error
    function = FileFunction(path.name, text, name)
    try:
        _function_in_text(path.name, text, name)
    except UserCodeError:
        raise
    except ImportError as error:
        raise UserCodeError(
            f"expected {path} to run by itself. Received: {_described(error)}. Only the "
            "file's text travels with the job: install what it imports on every worker, or "
            "pass package.module:function."
        ) from error
    except Exception as error:
        raise UserCodeError(
            f"expected {path} to run. Received: {_described(error)}. Correct the file."
        ) from error
    return function


def _from_module(module: str, name: str) -> ImportedFunction:
    look_in_working_folder()
    try:
        _function_in_module(module, name)
    except UserCodeError:
        raise
    except Exception as error:
        raise UserCodeError(
            f"expected an importable module. Received: {module} ({_described(error)}). "
            "Install it here and on every worker, or pass file.py:function."
        ) from error
    try:
        text = inspect.getsource(importlib.import_module(module))
    except (OSError, TypeError) as error:
        raise UserCodeError(
            f"expected a module with Python source. Received: {module} ({_described(error)}). "
            "Wrap the function in one."
        ) from error
    return ImportedFunction(module, name, _sha256(text, name))


@functools.cache
def _function_in_text(filename: str, text: str, name: str) -> Callable[..., Any]:
    return _function_of(_module_from_text(filename, text), name, filename)


@functools.cache
def _function_in_module(module: str, name: str) -> Callable[..., Any]:
    return _function_of(importlib.import_module(module), name, module)


@functools.cache
def _module_from_text(filename: str, text: str) -> types.ModuleType:
    stem = re.sub(r"\W", "_", Path(filename).stem)
    name = f"mirrorbeam_user_{stem}_{_sha256(text)[:16]}"
    spec = importlib.util.spec_from_loader(name, _TextLoader(filename, text))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _TextLoader(importlib.abc.InspectLoader):
    """Gives tracebacks and TensorFlow's AutoGraph the source of a module that has no file."""

    def __init__(self, filename: str, text: str) -> None:
        self._filename = filename
        self._text = text

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self._text, f"{fullname}/{self._filename}")

    def is_package(self, fullname: str) -> bool:
        return False


def _function_of(module: types.ModuleType, name: str, origin: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        there = sorted(
            n
            for n, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        )
        raise UserCodeError(
            f"expected a function {name} in {origin}. Received: "
            f"{'no such name' if function is None else type(function).__name__}. "
            f"Functions there: {', '.join(there) or 'none'}."
        )
    return function


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
