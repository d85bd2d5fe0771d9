"""Runs small jobs one by one in this process, and says what it holds after each.

    python -m tests.faults.soak.many_jobs FOLDER JOBS

The last line of its output is a JSON list: resident bytes, threads and open files per job.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np

from tests.faults.kill_points import ROOT, ragged
from tests.faults.soak.processes import growth, held
from tests.models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import read_report

_FILES, _ROWS = 3, 50


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
        gc.collect()
        after_each.append(held(os.getpid()))
    return after_each


def run_apart(folder: Path, jobs: int) -> dict[str, Any]:
    """The same in a process of its own: its first settled figures, its last, the growth."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.soak.many_jobs", str(folder), str(jobs)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}\n{done.stderr}")
    return growth(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):
        measured = run(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(json.dumps(measured) + "\n")
