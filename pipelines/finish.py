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
from pipelines.splits import Split

_LOG = logging.getLogger(__name__)

_READERS = 8
# Object stores answer late, but many at once.
_REMOTE_READERS = 64
_SPLITS_AT_A_TIME = 4096
_NAMED_PROBLEMS = 100


def verify_job(
    plan: JobPlan, folder: OutputFolder, content: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compares the record of every planned split with its files.

    Files are listed, not asked for one by one, so that each split costs an object store one
    request: for its record.

    Args:
      plan: the job's plan.
      folder: its output.
      content: whether to read the files, or to compare sizes alone.

    Returns:
      The records that hold, in the plan's order, and what is wrong with the others. Only the
      last record of a worker's process has its `run`, which tells totals.
    """
    sink = sink_class(plan.output_format)()
    sizes = folder.sizes()

    def look(split: Split) -> dict[str, Any] | str:
        try:
            record = read_commit(folder, split.name, sink, content, sizes.get)
        except CommitError as error:
            return str(error)
        return record or f"expected split {split.name} to be committed. Received: no record of it."

    records: list[dict[str, Any]] = []
    problems: list[str] = []
    last: dict[str, dict[str, Any]] = {}
    readers = _READERS if storage.is_local(folder.path) else _REMOTE_READERS
    with ThreadPoolExecutor(readers) as pool:
        # So many at a time: waiting ones take memory too.
        for start in range(0, len(plan.splits), _SPLITS_AT_A_TIME):
            for found in pool.map(look, plan.splits[start : start + _SPLITS_AT_A_TIME]):
                if isinstance(found, str):
                    problems.append(found)
                else:
                    records.append(found)
                    _keep_last_run(last, found)
    return records, problems


def _keep_last_run(last: dict[str, dict[str, Any]], record: dict[str, Any]) -> None:
    if not record.get("run"):
        return
    process = str(record["run"].get("process"))
    older = last.get(process)
    if older is not None and older["ended_at"] > record["ended_at"]:
        record["run"] = None
        return
    if older is not None:
        older["run"] = None
    last[process] = record


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
    if len(problems) > _NAMED_PROBLEMS:
        more = len(problems) - _NAMED_PROBLEMS
        problems = [*problems[:_NAMED_PROBLEMS], f"{more:,} more splits are not as expected."]
    report = build_report(plan, records, problems, ended_at=time.time())
    folder.write_json(folder.report, report)
    folder.sweep(split.name for split in plan.splits)
    if report["succeeded"]:
        storage.create(folder.success).close()
    else:
        storage.delete([folder.success])
        _LOG.error("the job failed: %s", " ".join(report["reasons"]))
    return report
