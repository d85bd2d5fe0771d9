"""One step of a case in this process: make its data, try batch sizes, or run one contender.

The last line of the output is what was found, as JSON. `benchmarks.run` starts these processes.

    python -m benchmarks.one run --case a --contender bare --rows 1000000 --data benchmarks/data
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Job, find_case
from benchmarks.cases.base import open_contender
from benchmarks.measured import SEEN, Meter

READY = "_READY"
SWEEP_TURNS = 3


def prepare(case: Case, folder: Path, rows: int) -> dict[str, Any]:
    """Makes a case's data, unless it is there and the case has not changed."""
    version = Path(sys.modules[case.prepare.__module__].__file__ or "").read_text()
    ready = folder / READY
    if not ready.exists() or ready.read_text() != version:
        remove(folder)
        folder.mkdir(parents=True)
        case.prepare(folder, rows)
        ready.write_text(version)
    return {"rows": rows}


def remove(folder: Path) -> None:
    """Deletes a folder of data, where there is one."""
    import shutil

    if folder.exists():
        shutil.rmtree(folder)


def sweep(case: Case, data: Path, rows: int, gpu: bool) -> dict[str, Any]:
    """Rates of the bare loop by batch size: the best of some turns."""
    best: dict[int, float] = {}
    runs = {
        batch_rows: open_contender(Job(case, data, rows, data, gpu, batch_rows), "bare")
        for batch_rows in case.sweep_rows
    }
    for _ in range(SWEEP_TURNS):
        for batch_rows, run in runs.items():
            started = time.perf_counter()
            run()
            rate = rows / (time.perf_counter() - started)
            best[batch_rows] = max(rate, best.get(batch_rows, 0))
    return {
        "rows": rows,
        "rows_per_second": {str(size): round(rate) for size, rate in best.items()},
        "best": max(best, key=lambda size: best[size]),
    }


def run(contender: str, job: Job, started_at: float) -> dict[str, Any]:
    """Runs one contender and checks what it gave."""
    score = open_contender(job, contender)
    SEEN.reset()
    meter = Meter(job.case.entries[contender].tree)
    ready_at = time.time()
    with meter.clock():
        score()
    figures = meter.figures() | {"start_seconds": ready_at - started_at}
    if contender == "read":
        if SEEN.rows != job.rows:
            raise ValueError(f"expected {job.rows} rows. Received: {SEEN.rows}.")
    else:
        job.case.check(job)
    return {"rows": job.rows, **figures}


def main() -> None:
    """Does one step and prints its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("prepare", "sweep", "run"))
    parser.add_argument("--case", required=True, metavar="LETTER")
    parser.add_argument("--contender")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the cases' data")
    parser.add_argument("--batch_rows", type=int)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--started_at", type=float, default=time.time())
    arguments = parser.parse_args()
    case = find_case(arguments.case)
    data = (arguments.data / f"{case.name}-{arguments.rows}").absolute()
    if arguments.step == "prepare":
        found = prepare(case, data, arguments.rows)
    elif arguments.step == "sweep":
        found = sweep(case, data, arguments.rows, arguments.gpu)
    else:
        with tempfile.TemporaryDirectory(dir=arguments.data) as output:
            job = Job(case, data, arguments.rows, Path(output), arguments.gpu, arguments.batch_rows)
            found = run(arguments.contender, job, arguments.started_at)
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
