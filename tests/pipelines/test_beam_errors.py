"""Errors of workers are told once, and with a stack where that is needed to understand them."""

from __future__ import annotations

import io
import logging

import pytest
from apache_beam.utils.retry import with_exponential_backoff

from pipelines.beam_errors import BeamErrors, what_failed, without_stack
from pipelines.commit_records import CommitError


def told(error: Exception) -> str:
    """What is written of an error that two threads of Beam log in two layers each."""
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(BeamErrors())
    layers = [logging.Logger(f"apache_beam.runners.{name}") for name in ("common", "sdk_worker")]
    for layer in layers:
        layer.addHandler(handler)
    for bundle in range(2):
        try:
            raise error
        except Exception:
            layers[0].exception("%s [while running 'Commit']", error)
            layers[1].error("Error processing instruction bundle_%d. Original traceback", bundle)
    layers[0].error("something else")
    return str(handler.stream.getvalue())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), CommitError("rows")])
def test_an_error_that_says_it_all_is_one_line(error: Exception) -> None:
    assert told(error).splitlines() == [f"{error} [while running 'Commit']", "something else"]


def test_another_keeps_its_stack_once() -> None:
    text = told(KeyError("x"))
    assert text.count("Traceback (most recent call last)") == 1
    assert text.count("while running") == 1


def test_a_request_that_is_tried_again_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(BeamErrors())
    calls = []

    @with_exponential_backoff(num_retries=1, initial_delay_secs=0.01)
    def request() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise OSError("no answer")

    request()
    assert len(calls) == 2
    (line,) = caplog.messages
    assert line.endswith("because we caught exception: OSError: no answer")


def test_texts_of_runners_lose_their_stacks() -> None:
    stack = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    f()\n'
    text = f"{stack}OSError: first\n\nDuring handling:\n\n{stack}OSError: full [in 'Commit']\n\n"
    assert without_stack(text) == "OSError: full [in 'Commit']"
    assert without_stack("OSError: full") == "OSError: full"
    assert without_stack(stack) == stack


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("RuntimeError: OSError: full [in 'Commit']"), "OSError: full [in 'Commit']"),
        (RuntimeError("pipelines.errors.CommitError: rows"), "pipelines.errors.CommitError: rows"),
        (RuntimeError("no worker\ncame"), "RuntimeError: no worker came"),
        (RuntimeError("RuntimeError: no worker"), "RuntimeError: no worker"),
        (OSError(28, "full", "out"), "OSError: [Errno 28] full: 'out'"),
        (KeyError(), "KeyError: "),
    ],
)
def test_what_failed_is_said_without_what_wraps_it(error: Exception, expected: str) -> None:
    assert what_failed(error) == expected
