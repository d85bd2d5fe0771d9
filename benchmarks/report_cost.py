"""What the report's page costs the end of a job: seconds, bytes and memory, by splits.

Each size is measured in a process of its own, in which the page is the first one: loading Jinja2
and compiling the template are in it. Commit records are made up, as those of a job that was
resumed once by eight workers.

    python -m benchmarks.report_cost --splits 10,1000,100000
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.run import RESULTS

_START = 1_700_000_000.0
_WORKERS = 8
_PROGRAM = "from benchmarks import report_cost as r; r.measure({splits})"

_LOG = logging.getLogger(__name__)


def made_up_records(splits: int) -> list[dict[str, Any]]:
    """Commit records, the last of which tell of their workers."""
    from transforms.engine.stage_times import STAGES

    stages = {name: {"seconds": 9.0, "cpu_seconds": 5.0, "threads": 2} for name in STAGES}
    run = {
        "devices": ["/device:GPU:0"], "batches": {"512": 900, "256": 12}, "batch_rows": 512,
        "rows": 10_000, "out_of_memory": 1, "model_loads": 1, "ready_at": _START + 20,
        "model_rows_per_second": 900.0, "wall_seconds": 600.0, "busy_seconds": 400.0,
        "stages": stages,
    }  # fmt: skip
    return [
        {
            "split": f"{index:05d}", "rows_in": 5000, "predicted": 5000, "failed": 0,
            "failures": {}, "part": {"bytes": 10**6}, "seconds": 20.0 + index % 7,
            "ended_at": _START + 30 + 0.1 * index + (9000 if index > splits // 2 else 0),
            "run": run | {"process": f"worker:{index}"} if splits - index <= _WORKERS else None,
        }
        for index in range(splits)
    ]  # fmt: skip


def measure(splits: int) -> None:
    """Makes one page in this process and prints what it cost."""
    from pipelines.fingerprint import FINGERPRINT_PARTS, fingerprint
    from pipelines.output_folder import OutputFolder
    from pipelines.plan import JobPlan
    from pipelines.report import build_report
    from pipelines.report_page import make_page
    from pipelines.runs import Run
    from pipelines.splits import Split

    arguments = {"model": "gs://bucket/model.keras", "input": ["gs://bucket/rows"]}
    plan = JobPlan(
        tuple(Split(index, (f"gs://bucket/rows/{index}.parquet",)) for index in range(splits)),
        "row", {"x": "float"}, "parquet", fingerprint(dict.fromkeys(FINGERPRINT_PARTS)),
        arguments, 0.01, _START,
    )  # fmt: skip
    runs = [
        Run(str(began), began, arguments, 0.01, "host", 1) for began in (_START, _START + 9000)
    ]
    records = made_up_records(splits)
    report = build_report(plan, records, [], _START + 99_999, [run.started_at for run in runs])
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    page = make_page(report, plan, records, runs, OutputFolder("/nowhere"))
    found = {
        "splits": splits,
        "seconds": round(time.perf_counter() - started, 4),
        "cpu_seconds": round(time.process_time() - cpu, 4),
        "page_bytes": len(page.encode()),
        "more_memory_bytes": 1024
        * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, logs and writes `benchmarks/results/report_cost.json`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--splits", default="10,1000,100000", help="sizes, comma-separated")
    flags = parser.parse_args(argv)
    found = []
    for splits in map(int, flags.splits.split(",")):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM.format(splits=splits)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found.append(json.loads(done.stdout))
        _LOG.info("%s", found[-1])
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    text = json.dumps({"machine": machine, "pages": found}, indent=1)
    (RESULTS / "report_cost.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
