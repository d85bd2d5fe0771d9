"""What Keras raises when it cannot load a model, in words that say what to do."""

from __future__ import annotations

import re

from transforms.engine.keras_file import KerasFile
from transforms.engine.model import ModelError

_MISSING = (
    re.compile(r"Could not locate (?:class|function) '([^']+)'"),
    re.compile(r"Unknown [\w ]+: '?([\w>.]+)'?"),
)
# Classes of Keras 2 that Keras 3 does not have and that no user can pass.
_KERAS_2_ONLY = (
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
    "LocallyConnected1D",
    "LocallyConnected2D",
    "RandomHeight",
    "RandomWidth",
    "SlicingOpLambda",
    "SyncBatchNormalization",
    "TFOpLambda",
    "TensorFlowOpLayer",
    "ThresholdedReLU",
)
_LONGEST = 300


def code_error(path: str, layers: list[str]) -> ModelError:
    """The error for a model file with code in it, when code is not trusted."""
    return ModelError(
        "expected a model file without code in it. "
        f"Received: {path!r}, whose layers {', '.join(map(repr, layers))} run Python code from the "
        "file. If you trust its author pass --trust_model (trust=True in a ModelSpec)."
    )


def lossy_error(path: str, lost: str) -> ModelError:
    """The error for a file of Keras 3 that Keras 3 does not read back as it was."""
    return ModelError(
        f"expected a file that keeps the whole model. Received: {path!r}, which loses {lost}. "
        "Save the model with model.save('x.keras')."
    )


def missing_tf_keras(path: str, reason: str) -> ModelError:
    """The error for a model of Keras 2 that Keras 3 cannot load, without tf_keras."""
    return ModelError(
        f"expected tf_keras, to load {path!r} as Keras 2 saved it. Received: no tf_keras here, "
        f"and Keras 3 cannot do it: {reason}. Run pip install mirrorbeam[legacy]."
    )


def keras_error(file: KerasFile, error: BaseException, library: str) -> ModelError:
    """What went wrong while a model file was loaded.

    Args:
      file: the model's file.
      error: what Keras raised.
      library: which Keras, with its version.
    """
    if lacks_custom_object(error):
        name = str(_missing_object(error))
        short = name.rpartition(">")[2]
        return ModelError(
            f"expected every class and function that {file.path!r} names to be known. "
            f"Received: {name!r}, which {library} does not know. "
            f"Pass --custom_objects {short}=module:{short} with the module that defines it "
            f"(custom_objects= in a ModelSpec).{_if_an_operation(file)}"
        )
    written_by = f"Keras {file.keras_version}" if file.keras_version else "an unknown Keras"
    return ModelError(
        f"expected a model that {library} can load. Received: {file.path!r}, written by "
        f"{written_by}: {first_words(error)}. Save it again with this version of Keras, or "
        "export it there as a SavedModel and pass that."
    )


def _if_an_operation(file: KerasFile) -> str:
    if file.kind == "keras" or file.is_keras_2:
        return ""
    return (
        " If it is an operation of Keras itself, save the model with model.save('x.keras'): "
        "HDF5 files do not keep where those are defined."
    )


def lacks_custom_object(error: BaseException | None) -> bool:
    """Whether an error says that a class or function of the user's is unknown."""
    name = _missing_object(error)
    return name is not None and name not in _KERAS_2_ONLY


def _missing_object(error: BaseException | None) -> str | None:
    """The class or function that an error, or one behind it, says is unknown."""
    while error is not None:
        for pattern in _MISSING:
            if found := pattern.search(str(error)):
                return found[1]
        error = error.__cause__ or error.__context__
    return None


def first_words(error: BaseException) -> str:
    """An error's class and the start of its message, on one line."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
