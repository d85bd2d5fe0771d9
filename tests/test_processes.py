"""What is told of programs that fail or never end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.processes import line_of, python, said

STUCK = """
import threading

def wait_for_nobody():
    print("so far", flush=True)
    threading.Event().wait()

wait_for_nobody()
"""


@pytest.fixture
def stuck() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert line_of(process) == "so far\n"
        yield process
        process.kill()


def test_a_program_that_fails_is_told_with_what_it_said() -> None:
    program = "import sys; print('on stdout'); sys.exit('on stderr')"
    with pytest.raises(AssertionError, match=r"(?s)Received: 1\..*on stdout.*on stderr"):
        python("-c", program)
    assert python("-c", program, check=False).returncode == 1


def test_a_program_that_does_not_end_is_told_with_its_stacks(
    stuck: subprocess.Popen[str],
) -> None:
    with pytest.raises(AssertionError, match=r"(?s)to end within 0 s.*in wait_for_nobody"):
        said(stuck, 0.1)


def test_a_program_that_stays_silent_is_not_waited_for(stuck: subprocess.Popen[str]) -> None:
    assert line_of(stuck, 0.1) == ""
    assert "in wait_for_nobody" in said(stuck)[1]
