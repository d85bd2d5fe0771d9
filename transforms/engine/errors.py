"""Which errors mean that memory ran out, and which that a row is bad."""

from __future__ import annotations

import re
from typing import NamedTuple

# In lower case. What libraries say first, then what TensorFlow makes of it.
_ALLOCATION_SIGNS = (
    "out of memory",
    "cuda_error_out_of_memory",
    "cudnn_status_alloc_failed",
    "cudnn_status_internal_error_device_allocation_failed",
    "cublas_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cusparse_status_alloc_failed",
    "cufft_alloc_failed",
    "failed to allocate",
    # A step in which several devices failed has the class of any of them.
    "resource_exhausted:",
)
# cuBLAS and cuDNN take memory beside TensorFlow's when they are first used on a GPU. Where a
# neighbour left none they say no more than that they did not start, and next time may.
_START_SIGNS = (
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    "failed to create cublas handle",
    "could not create cudnn handle",
    "dnn library initialization failed",
    "no blas for stream",
    "no blas support in stream",
    "no dnn support for stream",
    "without blas support",
)
# The classes that carry these. "No algorithm worked!" is a NotFoundError with the reason of each,
# a library that did not start an InternalError or FailedPreconditionError.
_CARRIERS = frozenset(
    {
        "AbortedError",
        "CancelledError",
        "FailedPreconditionError",
        "InternalError",
        "NotFoundError",
        "UnknownError",
    }
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


# How TensorFlow lists what went wrong in a step that failed in several places.
_ROOT = re.compile(
    r"^  \(\d+\) ([A-Z_]+):[ ]*(.*?)(?=^  \(\d+\) [A-Z_]+:|^\d+ successful operations|\Z)",
    re.MULTILINE | re.DOTALL,
)
_CANCELLED = "CancelledError"


def describe(error: BaseException) -> InferenceError:
    """The error as a failure record says it: without stacks, at most 500 characters.

    Of several errors of one step it is the first that is no consequence of another.
    """
    message = _STACK.sub("", str(getattr(error, "message", None) or error)).strip()
    described = InferenceError(type(error).__name__, message)
    if "root error(s) found" in message:
        roots = [
            InferenceError(_class_of(code), text.strip()) for code, text in _ROOT.findall(message)
        ]
        causes = [root for root in roots if root.error != _CANCELLED]
        described = next(iter(causes or roots), described)
    return described._replace(message=described.message[:_MESSAGE_CHARACTERS])


def is_consequence(error: BaseException) -> bool:
    """Whether a step says only that it was given up, not for what: another try may say it."""
    return describe(error).error == _CANCELLED


def _class_of(code: str) -> str:
    """The class of TensorFlow's errors with a code such as `INVALID_ARGUMENT`."""
    return code.title().replace("_", "") + "Error"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed where this one failed.

    True for TensorFlow's ``ResourceExhaustedError``, for allocation failures that CUDA libraries
    report as other errors, and for libraries that could not start, as without memory.
    """
    if type(error).__name__ == "ResourceExhaustedError":
        return True
    if type(error).__name__ not in _CARRIERS:
        return False
    text = str(error).lower()
    return any(sign in text for sign in _ALLOCATION_SIGNS + _START_SIGNS)


def may_be_the_device(error: BaseException) -> bool:
    """Whether an error other than of memory may be the device's rather than a row's.

    What a row is to blame for TensorFlow calls an invalid argument, or names as precisely.
    """
    return describe(error).error in _CARRIERS | {"DataLossError", "UnavailableError"}
