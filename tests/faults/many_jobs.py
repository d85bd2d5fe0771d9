"""Runs small jobs one by one in this process, and says what it holds after each.

    python -m tests.faults.many_jobs FOLDER JOBS

The last line of its output is a JSON list: resident bytes, threads and open files per job.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np

from tests.faults.kill_points import ragged
from tests.models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import read_report

_FILES, _ROWS = 3, 50


def held() -> dict[str, int]:
    """What this process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    status = Path("/proc/self/status").read_text()
    threads = next(line for line in status.splitlines() if line.startswith("Threads:"))
    return {
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": int(threads.split()[1]),
        "files": len(os.listdir("/proc/self/fd")),
    }


def growth(after_each: Sequence[dict[str, int]]) -> dict[str, Any]:
    """First settled figures against the last, of fifths of the jobs, the first fifth left out.

    Memory is the median. Threads and files are the least: those of a job that has just ended
    take a moment to go.
    """
    fifth = max(1, len(after_each) // 5)
    early, late = after_each[fifth : 2 * fifth], after_each[-fifth:]

    def least(of: Sequence[dict[str, int]], name: str) -> int:
        return min(figures[name] for figures in of)

    first_mib, last_mib = (
        statistics.median(figures["bytes"] for figures in of) / 2**20 for of in (early, late))
    return {
        "jobs": len(after_each),
        "mib_first": round(first_mib, 1),
        "mib_last": round(last_mib, 1),
        "mib_grown": round(last_mib - first_mib, 1),
        "threads_first": least(early, "threads"),
        "threads_last": least(late, "threads"),
        "files_first": least(early, "files"),
        "files_last": least(late, "files"),
    }


def run(folder: Path, jobs: int) -> list[dict[str, int]]:
    """Runs the jobs, each with a bad row a file, and gives what was held after each."""
    from pipelines.cli import main

    reference = mlp_keras(folder)[1]
    features = reference.rows(_FILES * _ROWS)["features"].tolist()
    for file in range(_FILES):
        own = features[file * _ROWS : (file + 1) * _ROWS]
        own[0] = own[0][:-1]
        columns = {"id": np.arange(_ROWS), "features": ragged(own)}
        write_parquet(folder / f"many/{file}.parquet", columns)
    after_each = []
    for job in range(jobs):
        out = folder / f"out-{job}"
        code = main([
            "score", f"--model={folder / 'mlp.keras'}", f"--input={folder / 'many'}",
            f"--output={out}", "--devices=CPU:0", "--direct_num_workers=2",
            "--direct_running_mode=multi_threading",
            f"--output_format={('parquet', 'csv', 'jsonl', 'tfrecord')[job % 4]}",
        ])  # fmt: skip
        report = read_report(out)
        if code or (report["predicted"], report["failed"]) != (_FILES * (_ROWS - 1), _FILES):
            raise AssertionError(f"job {job} ended with {code}: {report}")
        shutil.rmtree(out)
        after_each.append(held())
    return after_each


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):
        measured = run(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(json.dumps(measured) + "\n")
