"""What passes is tried again; what lasts is not."""

from __future__ import annotations

import errno

import pytest
from apache_beam.io.filesystem import BeamIOError

from pipelines import retrying
from pipelines.retrying import PAUSES_SECONDS, is_transient, retried


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PAUSES_SECONDS", (0.001,) * len(PAUSES_SECONDS))


class Failing:
    """Fails so often, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_what_passes_is_tried_again() -> None:
    call = Failing(OSError("503"), ConnectionResetError(), TimeoutError())
    assert retried(call, "asking") == "done"
    assert call.calls == 4


def test_the_last_error_is_raised() -> None:
    call = Failing(*[OSError(f"{number}") for number in range(9)])
    with pytest.raises(OSError, match="4"):
        retried(call, "asking")
    assert call.calls == len(PAUSES_SECONDS) + 1


@pytest.mark.parametrize("error", [
    FileNotFoundError("x"),
    PermissionError("x"),
    OSError(errno.ENOSPC, "no space left"),
    OSError(errno.EROFS, "read-only"),
    BeamIOError("delete failed", {"a": PermissionError("x")}),
    ValueError("no such scheme"),
])  # fmt: skip
def test_what_lasts_is_not_tried_again(error: Exception) -> None:
    call = Failing(error)
    with pytest.raises(type(error)):
        retried(call, "asking")
    assert call.calls == 1


@pytest.mark.parametrize("details", [
    None,
    {"a": "HttpError 503"},
    {"a": FileNotFoundError("a"), "b": ConnectionError("b")},
    {"a": BeamIOError("inner", {"b": TimeoutError("c")})},
])  # fmt: skip
def test_beams_own_errors_pass_unless_all_their_causes_last(details) -> None:
    assert is_transient(BeamIOError("failed", details))
