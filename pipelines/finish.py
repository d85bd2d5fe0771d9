"""The end of a job: compare every commit with its files, report, and say that it succeeded."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipelines import storage
from pipelines.commit_records import CommitError, read_commit
from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan
from pipelines.report import build_report
from pipelines.sinks import sink_class

_LOG = logging.getLogger(__name__)

_READERS = 8


def verify_job(
    plan: JobPlan, folder: OutputFolder, content: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compares the record of every planned split with its files.

    Args:
      plan: the job's plan.
      folder: its output.
      content: whether to read the files, or to compare sizes alone.

    Returns:
      The records that hold, in the plan's order, and what is wrong with the others.
    """
    sink = sink_class(plan.output_format)()

    def look(split: str) -> dict[str, Any] | str:
        try:
            record = read_commit(folder, split, sink, content)
        except CommitError as error:
            return str(error)
        return record or f"expected split {split} to be committed. Received: no record of it."

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(look, [split.name for split in plan.splits]))
    records = [record for record in found if not isinstance(record, str)]
    return records, [problem for problem in found if isinstance(problem, str)]


def finish_job(plan: JobPlan, folder: OutputFolder) -> dict[str, Any]:
    """Verifies the job, writes its report and, if all is well, `_SUCCESS` last.

    Counts come from the commit records on disk: those of an earlier run of the same job
    count too, and nothing counts twice. Where files are local they are read again and
    compared by checksum; elsewhere sizes are compared, since checksums were taken while
    writing and reading all output would pass it through this one worker.

    Returns:
      The report; its `succeeded` and `reasons` say how the job ended.
    """
    records, problems = verify_job(plan, folder, content=storage.is_local(folder.path))
    report = build_report(plan, records, problems, ended_at=time.time())
    folder.write_json(folder.report, report)
    folder.sweep(split.name for split in plan.splits)
    if report["succeeded"]:
        storage.create(folder.success).close()
    else:
        storage.delete([folder.success])
        _LOG.error("the job failed: %s", " ".join(report["reasons"]))
    return report
