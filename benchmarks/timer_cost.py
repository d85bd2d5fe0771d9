"""What the stage timers cost: one stay in a stage, times the stays of a block, by the job's CPU.

The timers cannot be switched off. The script therefore counts how often a job of the MLP
32-64-10, Parquet to Parquet, enters a stage, measures what one stay costs in the same process,
and relates the product to the CPU seconds that the job took, with imports and loading the model:
without those the share is larger.

    python -m benchmarks.timer_cost --rows 1000000
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.models import save_mlp
from benchmarks.peak_memory import write_rows
from benchmarks.run import RESULTS

_STAYS = 20_000
_ROUNDS = 5
_PROGRAM = "from benchmarks import timer_cost as t; t.score({model!r}, {source!r}, {output!r})"

_LOG = logging.getLogger(__name__)


def stay_seconds() -> float:
    """CPU seconds of one stay in a stage within another, the median of several rounds."""
    from transforms.engine.stage_times import DECODE, READ, StageTimes

    found = []
    for _ in range(_ROUNDS):
        times = StageTimes()
        started = time.thread_time()
        with times.stage(READ):
            for _ in range(_STAYS):
                with times.stage(DECODE):
                    pass
        found.append((time.thread_time() - started) / _STAYS)
    return statistics.median(found)


def score(model: str, source: str, output: str) -> None:
    """Runs the command in this process and prints its CPU seconds and how often it timed."""
    from pipelines.cli import main
    from transforms.engine.stage_times import STAGE_TIMES

    started, before = time.process_time(), STAGE_TIMES.times
    flags = ["--input", source, "--model", model, "--output", output, "--devices", "CPU:0"]
    code = main(["score", *flags])
    figures = {
        "code": code,
        "cpu_seconds": time.process_time() - started,
        "stays": STAGE_TIMES.times - before,
        "stay_seconds": stay_seconds(),
    }
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


def measure(model: Path, source: Path, output: Path) -> dict[str, Any]:
    """One job in a process of its own."""
    program = _PROGRAM.format(model=str(model), source=str(source), output=str(output))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measures and writes the figures to `benchmarks/results/`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_mlp(folder / "mlp.keras")
        write_rows(folder / "in", arguments.rows)
        runs = [
            measure(folder / "mlp.keras", folder / "in", folder / f"out-{number}")
            for number in range(arguments.rounds)
        ]
    costs = [run["stays"] * run["stay_seconds"] / run["cpu_seconds"] for run in runs]
    figures = {
        "case": "mirrorbeam score, Parquet to Parquet, MLP 32-64-10",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "rows": arguments.rows,
        "rounds": arguments.rounds,
        "stays": statistics.median(run["stays"] for run in runs),
        "stay_microseconds": round(1e6 * statistics.median(r["stay_seconds"] for r in runs), 2),
        "cpu_seconds": round(statistics.median(run["cpu_seconds"] for run in runs), 2),
        "cost_percent": round(100 * statistics.median(costs), 3),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "timer_cost.json").write_text(json.dumps(figures, indent=2) + "\n")
    _LOG.info("%s", json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
