from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import main
from tests.processes import ROOT, line_of, python, said

HEAVY = ("apache_beam", "tensorflow", "keras", "tfx_bsl")
SCORE = ["score", "--input", "in", "--model", "m.keras", "--output", "out"]

RUN_AND_LIST_MODULES = f"""
import sys
from pipelines.cli import main
code = main(sys.argv[1:])
print("code", code, "heavy", [name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["score", "--help"], 0),
        (["inspect", "--help"], 0),
        (["tune", "--help"], 0),
        (["worker-pool", "--help"], 0),
        ([], 2),
        (["scor"], 2),
        (["score"], 2),
        ([*SCORE, "--batch_size", "x"], 2),
        ([*SCORE, "--batchsize", "3"], 2),
        ([*SCORE, "leftover"], 2),
        (["inspect", "m.keras", "--runner", "x"], 2),
        (["tune", "--model", "m.keras", "--input", "in", "--runner", "x"], 2),
        (["worker-pool"], 2),
        (["worker-pool", "--port", "1", "--threads", "--processes"], 2),
    ],
)
def test_help_and_argument_errors_import_neither_beam_nor_tensorflow(
    arguments: list[str], code: int
):
    done = python("-c", RUN_AND_LIST_MODULES, *arguments)
    assert done.stdout.splitlines()[-1] == f"code {code} heavy []"
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("mirrorbeam: ") == (code == 2)


def test_importing_the_packages_imports_neither_beam_nor_tensorflow():
    script = (
        f"import sys, transforms, pipelines; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = python("-c", script)
    assert done.stdout.strip() == "[]"


def test_the_module_runs_as_the_command():
    done = python("-m", "pipelines", "--version")
    assert done.stdout.startswith("mirrorbeam ")
    assert "tensorflow 2." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected a command: score, inspect, tune, status, report or worker-pool"),
        (["tuna"], "invalid choice: 'tuna'"),
        (["score", "--input", "in"], "the following arguments are required: --model, --output"),
        ([*SCORE, "--batchsize", "3"], "Received: --batchsize. Did you mean --batch_size?"),
        ([*SCORE, "--runer=x"], "Received: --runer. Did you mean --runner?"),
        ([*SCORE, "--xla", "stray"], "Received: stray."),
        ([*SCORE, "--direct_num_workers", "many"], "--direct_num_workers"),
        ([*SCORE, "--runner=NoSuchRunner"], "NoSuchRunner"),
        (["inspect", "m.keras", "--batch_size=3"], "Received: --batch_size=3"),
    ],
)
def test_a_wrong_command_is_explained_in_one_paragraph(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("mirrorbeam: ")
    assert message.count("\n") == 1
    assert expected in message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_a_command_with_its_exit_code(tmp_path: Path, number: signal.Signals):
    (tmp_path / "in.csv").write_text("x\n1\n")
    # Runs while the job is checked, and says when.
    (tmp_path / "slow.py").write_text("print('runs', flush=True)\nimport time\ntime.sleep(600)\n")
    arguments = [
        "--input", "in.csv", "--model", "m.keras", "--output", "out", "--preprocess", "slow.py:f",
    ]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines", "score", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        started = line_of(process)
        process.send_signal(number)
        _, told = said(process)
    assert started == "runs\n", told
    assert process.returncode == 1
    assert "stopped before the job was done" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_left_as_they_were(number: signal.Signals):
    before = signal.getsignal(number)
    assert main(["status", "no_such_folder"]) == 2
    assert signal.getsignal(number) is before


def test_what_a_terminal_would_obey_is_written_as_text(capsys: pytest.CaptureFixture[str]):
    assert main(["status", "no\x1b[2Jé\udcff"]) == 2
    told = capsys.readouterr().err
    assert "\\x1b[2Jé\\udcff" in told
    assert "\x1b" not in told
