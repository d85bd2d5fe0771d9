"""The ceiling for models of any inputs: a loop over arrays, nothing around it."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases.base import Job
from benchmarks.cases.table_files import read_arrays
from benchmarks.contenders.traced import load_traced
from benchmarks.measured import SEEN


def arrays(job: Job) -> Callable[[], None]:
    """Rows that are in memory before the clock."""
    columns = read_arrays(job.data)
    rows = job.batch_rows or 1024
    score = load_traced(str(job.model))
    score({name: values[:rows] for name, values in columns.items()})

    def run() -> None:
        for first in range(0, job.rows, rows):
            SEEN.block(
                score({name: values[first : first + rows] for name, values in columns.items()})
            )

    return run
