"""`mirrorbeam score` in several processes of this machine, which Beam's own runner starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.outputs import Rows
from tests.runners.datasets import (
    ROWS,
    assert_same_rows,
    make_dataset,
    sorted_rows,
    workers_of,
)
from tests.runners.pools import start_command, wait_for

JOB_SECONDS = 300.0


@pytest.mark.slow
def test_each_of_several_processes_loads_the_model_once(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    expected = score(tmp_path, "threads")[0]
    rows, driver = score(
        tmp_path, "processes", "--direct_running_mode=multi_processing", "--direct_num_workers=2"
    )
    assert_same_rows(rows, expected)
    workers = workers_of(tmp_path / "processes")
    assert len(workers) == 2
    assert driver not in workers
    assert all(worker["model_loads"] == 1 for worker in workers.values())
    assert sum(worker["rows"] for worker in workers.values()) == ROWS


def score(data: Path, name: str, *flags: str) -> tuple[Rows, int]:
    """Runs the command; gives the rows and its process."""
    output, log = data / name, data / f"{name}.log"
    process = start_command(
        log, "score", "--input", str(data / "in"), "--model", str(data / "mlp.keras"),
        "--output", str(output), "--split_bytes", "8KiB", *flags,
    )  # fmt: skip
    wait_for(process, log, JOB_SECONDS)
    return sorted_rows(output), process.pid
