"""Runs cases: every contender in turn, each run in a process of its own, several rounds.

    python -m benchmarks.run --case a,b --scale small --rounds 3

Data goes to `benchmarks/data/`, figures to `benchmarks/results/`; `benchmarks.page` writes the
page from these.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import MODULES, Case, find_case
from benchmarks.machine import describe_machine
from benchmarks.results import is_peer, summarise

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DATA = ROOT / "benchmarks" / "data"
LONGEST_RUN_SECONDS = 1800

_LOG = logging.getLogger(__name__)


class RunError(Exception):
    """A step that ended with an error; the message is the last line that it wrote."""


def step(name: str, flags: Mapping[str, Any], gpu: bool) -> dict[str, Any]:
    """Runs `benchmarks.one` and reads what it found.

    Raises:
      RunError: it failed.
    """
    # Batch sizes that other jobs of this user found are no part of the comparison.
    cache = Path(flags["data"]).absolute() / "cache"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "XDG_CACHE_HOME": str(cache)}
    if not gpu:
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    command = [sys.executable, "-m", "benchmarks.one", name]
    command += [f"--{flag}={value}" for flag, value in flags.items() if value is not None]
    command += ["--gpu"] if gpu else []
    command += [f"--started_at={time.time()}"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=LONGEST_RUN_SECONDS,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        _LOG.debug("%s", done.stderr)
        raise RunError(lines[-1] if lines else f"exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepares a case, tries batch sizes, and runs the rounds."""
    common = {"case": case.letter, "data": arguments.data}
    names = [name for name in case.entries if name in (arguments.contenders or case.entries)]
    rows = {name: case.entries[name].rows(arguments.scale) for name in names}
    if arguments.rows:
        rows = {name: min(arguments.rows, count) for name, count in rows.items()}
    for count in sorted(set(rows.values())):
        step("prepare", common | {"rows": count}, gpu=False)
    batch_rows = None
    if case.sweep_rows and "bare" in names:
        batch_rows = _sweep(case, common, rows["bare"], arguments)
    if "mirrorbeam" in names and case.sweep_rows:
        # Its sweep: a job that is not counted finds the batch size and leaves it in the cache.
        flags = {**common, "contender": "mirrorbeam", "rows": rows["mirrorbeam"]}
        step("run", flags | {"batch_rows": batch_rows}, arguments.gpu)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    for number in range(arguments.rounds):
        for name in names:
            if name in failed or (is_peer(name) and number >= arguments.peer_rounds):
                continue
            flags = common | {"contender": name, "rows": rows[name]}
            if name in ("bare", "mirrorbeam"):
                flags["batch_rows"] = batch_rows
            try:
                runs[name].append(step("run", flags, arguments.gpu))
            except (RunError, subprocess.TimeoutExpired) as error:
                failed[name] = str(error)
                _LOG.error("%s, %s failed: %s", case.letter, name, error)
                continue
            _LOG.info("%s, round %d, %s: %s", case.letter, number + 1, name, runs[name][-1])
    return {
        "case": case.letter,
        "name": case.name,
        "scale": arguments.scale,
        "rounds": arguments.rounds,
        "bare_batch_rows": batch_rows,
        "machine": describe_machine(arguments.gpu_names),
        "contenders": {name: summarise(found) for name, found in runs.items() if found},
        "failed": failed,
    }


def _sweep(
    case: Case, common: Mapping[str, Any], rows: int, arguments: argparse.Namespace
) -> int | None:
    flags = {**common, "rows": rows}
    found = step("sweep", flags, arguments.gpu)
    found = {"case": case.letter, "machine": describe_machine(arguments.gpu_names)} | found
    write(arguments.results / f"sweep-{case.letter}{suffix(arguments.gpu)}.json", found)
    return int(found["best"])


def suffix(gpu: bool) -> str:
    """What the names of files with figures from GPUs end in."""
    return "-gpu" if gpu else ""


def write(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")


def gpu_names() -> tuple[str, ...]:
    """The GPUs that TensorFlow sees, looked up in a process that does not keep them."""
    program = (
        "import json, tensorflow as tf; g = tf.config.list_physical_devices('GPU'); "
        "print(json.dumps([tf.config.experimental.get_device_details(d).get('device_name', d.name)"
        " for d in g]))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return tuple(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else ()


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the chosen cases and writes their figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", metavar="LETTERS", help="such as a,b (default: all)")
    parser.add_argument("--contenders", metavar="NAMES", type=lambda text: text.split(","))
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--rows", type=int, help="at most this many for each: for a quick look")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--peer_rounds", type=int, help="fewer rounds for the slow peers (default: all)"
    )
    parser.add_argument("--gpu", action="store_true", help="the cases for GPUs, on GPUs")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--verbose", action="store_true", help="show what failed runs wrote")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(message)s"
    )
    arguments.peer_rounds = arguments.peer_rounds or arguments.rounds
    arguments.gpu_names = gpu_names() if arguments.gpu else ()
    if arguments.gpu and not arguments.gpu_names:
        _LOG.error(
            "expected a GPU that TensorFlow sees. Received: none. On a machine with an "
            "NVIDIA driver run pip install '.[gpu]' first; without one run make bench."
        )
        return 2
    cases = [find_case(letter) for letter in (arguments.case or ",".join(MODULES)).split(",")]
    wrong = 0
    for case in cases:
        if arguments.gpu and not case.on_gpu:
            _LOG.info("%s is not for GPUs, left out", case.letter)
            continue
        found = measure(case, arguments)
        wrong += len(found["failed"])
        write(arguments.results / f"bench-{case.letter}{suffix(arguments.gpu)}.json", found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
