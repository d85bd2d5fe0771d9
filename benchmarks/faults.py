"""Kills a job at every point of its way, resumes it, and counts rows lost and doubled.

Also lets two commands work on one folder, of which one is stopped at random and woken later.

    python -m benchmarks.faults

Writes `benchmarks/results/faults.json` and the figures in `docs/guarantees.md`; ends with
another exit code than 0 where a row was lost or doubled, or more was done again than was open:
for each thread the split that it reads, and the one before, whose last rows are on the devices.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from benchmarks.machine import describe_machine
from benchmarks.marked_text import put_between
from tests.bad_input.matrix import count_tried
from tests.faults.kill_points import POINTS, Outcome, kill_and_resume, kill_half_way
from tests.faults.two_commands import Round, play

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/faults.json"
PAGE = ROOT / "docs/guarantees.md"

HALF_SPLITS, HALF_THREADS = 24, 2
ROUNDS = 20

_BEGIN, _END = "<!-- figures: python -m benchmarks.faults -->", "<!-- end of figures -->"

_LOG = logging.getLogger(__name__)


def measure() -> dict[str, Any]:
    """Kills and resumes a job at each point and half-way; plain values of what came of it."""
    outcomes: list[Outcome] = []
    for point in POINTS:
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(kill_and_resume(Path(folder), point))
        _LOG.info("%s", outcomes[-1])
    with tempfile.TemporaryDirectory() as folder:
        half = kill_half_way(Path(folder), HALF_SPLITS, HALF_THREADS)
    _LOG.info("%s", half)
    rounds: list[Round] = []
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(play(Path(folder), random.Random(number)))
        _LOG.info("%s", rounds[-1])
    return {
        "machine": describe_machine(),
        "points": [dataclasses.asdict(outcome) for outcome in outcomes],
        "half_way": dataclasses.asdict(half) | {"splits": HALF_SPLITS, "threads": HALF_THREADS},
        "two_commands": [dataclasses.asdict(played) for played in rounds],
    }


def figures(results: dict[str, Any]) -> str:
    """The table of figures."""
    points, half = results["points"], results["half_way"]
    kills, rounds = [*points, half], results["two_commands"]
    files, jobs = count_tried()
    lines = [
        "| | |",
        "|---|---|",
        f"| points at which a job was killed by SIGKILL | {len(points)} |",
        f"| kills survived, with one of a job that was half done | {len(kills)} |",
        "| rounds of two commands on one folder, one stopped at random and woken later | "
        f"{len(rounds)} |",
        f"| rows lost in all these | {sum(job['rows_lost'] for job in [*kills, *rounds])} |",
        f"| rows doubled | {sum(job['rows_doubled'] for job in [*kills, *rounds])} |",
        "| splits begun and done again, at most, with one reading thread | "
        f"{max(kill['redone'] for kill in points)} |",
        f"| the same after a kill at {half['committed']} of {half['splits']} splits, with "
        f"{half['threads']} threads | {half['redone']} |",
        "| bad input files tried, each beside sound ones and alone: [Bad input](bad_input.md) | "
        f"{files}, in {jobs} jobs |",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measures, writes, and judges."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    _LOG.setLevel(logging.INFO)
    results = measure()
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(put_between(PAGE.read_text(), _BEGIN, _END, f"\n{figures(results)}\n"))
    jobs = [*results["points"], results["half_way"], *results["two_commands"]]
    exact = not any(job["rows_lost"] or job["rows_doubled"] for job in jobs)
    within = all(kill["redone"] <= 2 for kill in results["points"])
    within = within and results["half_way"]["redone"] <= 2 * HALF_THREADS
    return 0 if exact and within else 1


if __name__ == "__main__":
    sys.exit(main())
