"""What a large job costs outside of its rows: planning, starting and finishing 100,000 splits.

Each step runs in a process of its own over files that another made, and says what it took on top
of a process that has imported what the step needs. `python -m benchmarks.scaling_page` writes
the page.

    python -m benchmarks.scaling --folder /dev/shm/scaling
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.scaling_inputs import INPUTS
from benchmarks.scaling_steps import STEPS

RESULTS = Path(__file__).parent / "results"

_LOG = logging.getLogger(__name__)


class Clock:
    """Figures of the part of a process that is measured."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Takes seconds, CPU seconds, and by how much the peak memory rose, of what runs inside."""
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.figures[name] = {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu, 2),
            "memory_mib": round((after.ru_maxrss - before.ru_maxrss) / 1024),
        }


def main() -> None:
    """Measures all, or with `--step` one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where to make files; the default is a temporary folder")
    parser.add_argument("--only", help="names of steps, separated by commas")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.step:
        sys.stdout.write(json.dumps(_measured(arguments.step, Path(arguments.folder))) + "\n")
        return
    folder = Path(tempfile.mkdtemp(prefix="scaling-", dir=arguments.folder))
    try:
        figures = _all_steps(folder, arguments)
    finally:
        shutil.rmtree(folder)
    found = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "splits": arguments.splits,
        "images": arguments.images,
        "steps": figures,
    }
    path = RESULTS / "scaling.json"
    if arguments.only:
        found = json.loads(path.read_text())
        found["steps"] |= figures
    path.write_text(json.dumps(found, indent=2) + "\n")


def _measured(name: str, folder: Path) -> dict[str, Any]:
    clock = Clock()
    step, _, argument = name.partition(":")
    facts = STEPS[step](clock, folder, argument)
    return clock.figures | facts


def _all_steps(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    wanted = set(arguments.only.split(",")) if arguments.only else None
    figures: dict[str, Any] = {}

    def take(name: str) -> None:
        found = _in_a_process(name, folder)
        step = name.partition(":")[0]
        figures[name if step == "plan" else step] = found
        _LOG.info("%s: %s", name, json.dumps(found))

    def is_wanted(name: str) -> bool:
        return wanted is None or name in wanted

    for kind in INPUTS:
        if not is_wanted(f"plan:{kind}"):
            continue
        count = arguments.images if kind == "image_files" else arguments.splits
        # A process starts with its parent's peak of memory: this one must stay small.
        _in_a_process(f"make:{kind}={count}", folder)
        take(f"plan:{kind}")
        shutil.rmtree(folder / kind)
    others = (f"finish:{arguments.splits}", "remote:2000", "splits", "rows", "images", "start")
    for name in others:
        if is_wanted(name.partition(":")[0]):
            take(name)
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return figures


def _in_a_process(step: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", "--step", step, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
