"""`mirrorbeam score` on Prism: asked for by name, and as what `DirectRunner` tries first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.outputs import Rows, read_report
from tests.runners import prism
from tests.runners.datasets import (
    ROWS,
    assert_same_rows,
    sorted_rows,
    workers_of,
)
from tests.runners.pools import ROOT, wait_for

PRISM = ROOT / ".prism"
JOB_SECONDS = 300.0

pytestmark = [
    pytest.mark.prism,
    pytest.mark.skipif(bool(prism.missing(PRISM)), reason=prism.missing(PRISM)),
]

# The command, with the log lines of Beam that tell which runner it is, and what Prism does.
_COMMAND = """\
import logging, sys
logging.basicConfig(level=logging.INFO)
logging.getLogger("PrismRunner").setLevel(logging.DEBUG)
from pipelines.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def binary() -> Path:
    return prism.install(PRISM)


@pytest.fixture(scope="module")
def expected(data: Path) -> Rows:
    """What the default runner gives."""
    score(data, data / "expected")
    return sorted_rows(data / "expected")


def start(data: Path, output: Path, *flags: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Starts the command; gives its process and its log."""
    log = output.with_suffix(".log")
    arguments = [
        "score", "--input", str(data / "in"), "--model", str(data / "mlp.keras"),
        "--output", str(output), "--split_bytes", "8KiB", *flags,
    ]  # fmt: skip
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *arguments],
            cwd=ROOT, env=os.environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
        )  # fmt: skip
    return process, log


def score(data: Path, output: Path, *flags: str) -> tuple[int, str]:
    """Runs the command to its good end; gives its process and what it said."""
    process, log = start(data, output, *flags)
    wait_for(process, log, JOB_SECONDS)
    return process.pid, log.read_text()


@pytest.mark.parametrize("runner", ["PrismRunner", "DirectRunner"])
def test_prism_gives_the_rows_of_the_default_runner(
    runner: str, binary: Path, data: Path, expected: Rows, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    pid, log = score(data, output, f"--runner={runner}", f"--prism_location={binary}")
    assert f"Prism binary path resolved to: {binary}" in log
    assert "falling back" not in log.lower()
    assert_same_rows(sorted_rows(output), expected)
    assert {process: worker["model_loads"] for process, worker in workers_of(output).items()} == {
        pid: 1
    }


def test_prism_takes_no_notice_of_processes_asked_for(
    binary: Path, data: Path, tmp_path: Path
) -> None:
    flags = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    pid, log = score(
        data, tmp_path / "out", "--runner=DirectRunner", f"--prism_location={binary}", *flags
    )
    assert "Prism binary path resolved to: " in log
    assert set(workers_of(tmp_path / "out")) == {pid}


def test_a_running_bundle_may_be_split(
    binary: Path, data: Path, expected: Rows, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    slow = [f"--preprocess={data / 'slow.py'}:pause", "--batch_size=100"]
    _, log = score(
        data, output, "--runner=PrismRunner", f"--prism_location={binary}",
        "--prism_log_level=debug", *slow,
    )  # fmt: skip
    assert "split elements" in log
    assert_same_rows(sorted_rows(output), expected)
    report = read_report(output)
    assert report["rows_in"] == report["predicted"] == ROWS


def test_direct_runner_without_prism_gives_the_same_rows(
    data: Path, expected: Rows, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    _, log = score(data, output, "--runner=DirectRunner", f"--prism_location={tmp_path}/none")
    assert "Falling back to DirectRunner" in log
    assert_same_rows(sorted_rows(output), expected)


def test_prism_runner_without_prism_fails(data: Path, tmp_path: Path) -> None:
    where = f"--prism_location={tmp_path}/none"
    process, log = start(data, tmp_path / "out", "--runner=PrismRunner", where)
    assert process.wait(JOB_SECONDS) == 1
    assert "the job failed: " in log.read_text()
    assert not (tmp_path / "out" / "_SUCCESS").exists()
