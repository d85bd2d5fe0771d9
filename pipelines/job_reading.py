"""What a job's output folder holds of it: plan, runs, commit records and the report.

For commands that look at jobs which others run, and which may be at any point of their way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from pipelines import storage
from pipelines.errors import CommandError
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.plan import JobPlan
from pipelines.runs import Run, read_runs
from pipelines.working_times import keep_last_run

_RECORDS_AT_A_TIME = 4096

# What is told of them; a file without it is one on its way, or no longer what it was.
_OF_RECORD: dict[str, Any] = {
    "split": str, "rows_in": int, "predicted": int, "failed": int, "failures": dict,
    "part": dict, "ended_at": float, "seconds": float,
}  # fmt: skip
_OF_REPORT: dict[str, Any] = {"succeeded": bool, "reasons": list}

_NO_FAILURES: dict[str, Any] = {}


class JobFiles(NamedTuple):
    """What is known of a job.

    Attributes:
      plan: the job's plan.
      runs: the commands that worked on it, in their order.
      report: what the finish wrote, if it came to that.
      succeeded: whether `_SUCCESS` is there.
    """

    plan: JobPlan
    runs: list[Run]
    report: dict[str, Any] | None
    succeeded: bool


def read_job(folder: OutputFolder) -> JobFiles:
    """Reads all but the commit records, which may be many.

    Raises:
      CommandError: there is no plan, or the folder cannot be read.
    """
    try:
        plan = folder.read_plan()
        if plan is None:
            raise CommandError(
                f"expected the output folder of mirrorbeam score. Received: {folder.path}, which "
                "has no _mirrorbeam/plan.json. Pass the job's --output; where its command "
                "was given just now, its job is not planned yet.")
        runs = read_runs(folder)
        report = _read_json(folder.report, _OF_REPORT)
        return JobFiles(plan, runs, report, storage.size_bytes(folder.success) is not None)
    except (OutputError, OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def read_records(folder: OutputFolder, plan: JobPlan) -> list[dict[str, Any]]:
    """The commit records of the plan's splits that can be read: one may be replaced just now.

    They are cut down to what reports are made from, and only the last one of a worker's
    process has its `run`, which tells totals: there may be a hundred thousand.

    Raises:
      CommandError: the folder cannot be read.
    """
    names = {split.name for split in plan.splits}
    last: dict[str, dict[str, Any]] = {}
    records = []
    try:
        for record in _iterate_records(folder):
            if record["split"] in names:
                keep_last_run(last, record)
                records.append(record)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error
    return records


def _iterate_records(folder: OutputFolder) -> Iterator[dict[str, Any]]:
    paths = sorted(storage.sizes_in(folder.commits_folder))
    with ThreadPoolExecutor(storage.readers_of(folder.path)) as pool:
        # So many at a time: waiting ones take memory too.
        for start in range(0, len(paths), _RECORDS_AT_A_TIME):
            for record in pool.map(_read_record, paths[start : start + _RECORDS_AT_A_TIME]):
                if record is not None:
                    yield record


def _read_record(path: str) -> dict[str, Any] | None:
    values = _read_json(path, _OF_RECORD)
    if values is None or not isinstance(values["part"].get("bytes"), int):
        return None
    run = values.get("run")
    return {
        "split": values["split"],
        "rows_in": values["rows_in"],
        "predicted": values["predicted"],
        "failed": values["failed"],
        "failures": values["failures"] or _NO_FAILURES,
        "part": {"bytes": values["part"]["bytes"]},
        "ended_at": values["ended_at"],
        "seconds": values["seconds"],
        "run": run if isinstance(run, dict) else None,
    }


def _read_json(path: str, kinds: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object in a file; None where there is none, or one without these values."""
    data = storage.read_bytes(path)
    try:
        values = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    holds = all(isinstance(values.get(name), kind) for name, kind in kinds.items())
    return values if holds else None


def _unreadable(folder: OutputFolder, error: Exception) -> CommandError:
    if isinstance(error, CommandError):
        return error
    return CommandError(
        f"expected an output folder that can be read. Received: {folder.path}; {error}")
