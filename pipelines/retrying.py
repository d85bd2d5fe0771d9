"""Trying again what a remote filesystem did not do at once."""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

_LOG = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# Two tries more than a short outage takes; each pause is lengthened by up to a half at random.
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)

# What a second try finds just as it is.
_LASTING = (
    FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError,
)  # fmt: skip
_LASTING_NUMBERS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ENAMETOOLONG}
)

# Packages of object stores' clients, whose errors are of their own kinds.
_CLIENTS = frozenset({"apache_beam", "boto3", "botocore", "google", "requests", "urllib3"})

# Too slow, or too many requests.
_BUSY = frozenset({408, 429})


class StoreError(OSError):
    """An object store did not do what it was asked for.

    Attributes:
      code: of the HTTP answer, if there was one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        """Takes what the store's client said."""
        super().__init__(message)
        self.code = code


class OutageError(RuntimeError):
    """Storage fails for longer than it is tried again; the same work may succeed later.

    It is no OSError, which readers of formats take for a damaged file.
    """


@contextlib.contextmanager
def outages_named() -> Iterator[None]:
    """Makes what may pass by itself a `OutageError`: some runners hand on nothing but text."""
    try:
        yield
    except Exception as error:
        if not is_transient(_as_os_error(error)):
            raise
        raise OutageError(f"{type(error).__name__}: {error}") from error


def is_outage(error: BaseException | None) -> bool:
    """Whether an error, that of a pipeline too, comes from storage that may work later."""
    while error is not None:
        if isinstance(error, OutageError) or f"{OutageError.__name__}: " in str(error):
            return True
        if isinstance(error, OSError) and is_transient(error):
            return True
        error = error.__cause__
    return False


def retried(call: Callable[[], _Result], what: str) -> _Result:
    """What `call` returns, which is made up to five times while it fails for a while.

    Args:
      call: must do no harm when it is made again after it was done in part.
      what: for the log, such as `listing gs://bucket/folder`.

    Raises:
      OSError: that of the last try, or at once one that would not pass: a file that is not
        there, a right that is missing, a full disk. `StoreError` where a store's client has an
        error of its own kind.
    """
    for pause_seconds in PAUSES_SECONDS:
        try:
            return _called(call)
        except OSError as error:
            if not is_transient(error):
                raise
            seconds = pause_seconds * random.uniform(1, 1.5)
            _LOG.warning("%s failed, again in %.1f s: %s", what, seconds, error)
            time.sleep(seconds)
    return _called(call)


def _called(call: Callable[[], _Result]) -> _Result:
    try:
        return call()
    except Exception as error:
        known = _as_os_error(error)
        if known is error:
            raise
        raise known from error


def _as_os_error(error: Exception) -> Exception:
    """The error itself, or where it is one of a store's client, a `StoreError`."""
    if isinstance(error, OSError):
        return error
    said: BaseException = error
    if isinstance(error, AttributeError) and error.__context__ is not None:
        # Beam's S3 client stumbles over errors without an answer: a connection that broke.
        said = error.__context__
    if type(said).__module__.partition(".")[0] not in _CLIENTS:
        return error
    return StoreError(f"{type(said).__name__}: {said}", _code(said))


def _code(error: BaseException) -> int | None:
    code = getattr(error, "code", None)
    if not isinstance(code, int):
        answer = getattr(error, "response", None)
        metadata = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
        code = metadata.get("HTTPStatusCode")
    return int(code) if isinstance(code, int) else None


def is_transient(error: BaseException) -> bool:
    """Whether an operation that failed so may succeed a little later."""
    details = getattr(error, "exception_details", None)
    if isinstance(details, dict) and details:
        # Beam collects what went wrong with each file: an error, or in places only a text.
        causes = [cause for cause in details.values() if isinstance(cause, BaseException)]
        return len(causes) < len(details) or any(map(is_transient, causes))
    code = _code(error)
    if code is not None:
        return code in _BUSY or code >= 500
    if not isinstance(error, OSError) or isinstance(error, _LASTING):
        return False
    return error.errno not in _LASTING_NUMBERS
