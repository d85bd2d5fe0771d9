"""Which errors mean that memory ran out, and which that a row is bad."""

from __future__ import annotations

import re
from typing import NamedTuple

_ALLOCATION_SIGNS = (
    "out of memory",
    "failed to allocate",
    "cuda_error_out_of_memory",
    "cudnn_status_alloc_failed",
    "cudnn_status_internal_error_device_allocation_failed",
    "cublas_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cufft_alloc_failed",
)


class SetupError(ValueError):
    """The model, the preprocessing and the columns do not fit together."""


class InferenceError(NamedTuple):
    """Why one row has no prediction.

    Attributes:
      error: class name of what was raised.
      message: its first lines.
    """

    error: str
    message: str


_MESSAGE_CHARACTERS = 500
# TensorFlow puts the Python stack of the failing node before what went wrong.
_STACK = re.compile(
    r'^(Graph execution error:|Detected at node .*|  File ".*|<stack traces unavailable>)$',
    re.MULTILINE,
)


def describe(error: BaseException) -> InferenceError:
    """The error as a failure record says it: without stacks, at most 500 characters."""
    message = _STACK.sub("", str(getattr(error, "message", None) or error)).strip()
    return InferenceError(type(error).__name__, message[:_MESSAGE_CHARACTERS])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed where this one failed.

    True for TensorFlow's ``ResourceExhaustedError`` and for allocation failures that CUDA
    libraries report as other errors.
    """
    if type(error).__name__ == "ResourceExhaustedError":
        return True
    if type(error).__name__ not in ("InternalError", "UnknownError", "AbortedError"):
        return False
    text = str(error).lower()
    return any(sign in text for sign in _ALLOCATION_SIGNS)
