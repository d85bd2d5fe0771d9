"""The end of a job: compare every commit with its files, report, and say that it succeeded."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from pipelines import storage
from pipelines.commit_records import CommitError, read_commit
from pipelines.disk_sync import sync_disk_of
from pipelines.file_lock import file_lock
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.plan import JobPlan
from pipelines.plan_watch import require_plan_unchanged
from pipelines.report import build_report
from pipelines.report_page import has_jinja, make_page
from pipelines.resume import written_late
from pipelines.runs import Run, as_last_given, read_runs
from pipelines.sinks import sink_class
from pipelines.splits import Split
from pipelines.working_times import keep_last_run

_LOG = logging.getLogger(__name__)

_SPLITS_AT_A_TIME = 4096
_NAMED_PROBLEMS = 100
_TRIES = 3
_PART = re.compile(r"part-(\d{5,})\.([a-z]+)")


class Verified(NamedTuple):
    """What became of a plan's splits.

    Attributes:
      records: the commit records that hold, in the plan's order. Only the last one of a
        worker's process has its `run`, which tells totals.
      problems: what is wrong with the other splits, and parts that are of none.
      broken: names of those among them that have a record which does not hold.
      stale: failed parts of attempts that did not commit, beside a record without failures.
    """

    records: list[dict[str, Any]]
    problems: list[str]
    broken: list[str]
    stale: list[str]


def verify_job(plan: JobPlan, folder: OutputFolder, content: bool) -> Verified:
    """Compares the record of every planned split with its files.

    Files are listed, not asked for one by one, so that each split costs an object store one
    request: for its record.

    Args:
      plan: the job's plan.
      folder: its output.
      content: whether to read all files, or to compare sizes alone but for splits that more
        than one attempt may have written, or whose part is younger than `_SUCCESS`.
    """
    sink = sink_class(plan.output_format)()
    sizes = folder.sizes()
    doubtful = folder.attempted_splits() | written_late(folder, plan)
    plan_id = plan.id

    def look(split: Split) -> dict[str, Any] | CommitError | None:
        try:
            read = content or split.name in doubtful
            return read_commit(folder, split.name, sink, read, sizes.get, plan_id)
        except CommitError as error:
            return error

    records: list[dict[str, Any]] = []
    problems: list[str] = []
    broken: list[str] = []
    stale: list[str] = []
    last: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(storage.readers_of(folder.path)) as pool:
        # So many at a time: waiting ones take memory too.
        for start in range(0, len(plan.splits), _SPLITS_AT_A_TIME):
            some = plan.splits[start : start + _SPLITS_AT_A_TIME]
            for split, found in zip(some, pool.map(look, some), strict=True):
                if isinstance(found, CommitError):
                    problems.append(str(found))
                    broken.append(split.name)
                elif found is None:
                    problems.append(
                        f"expected split {split.name} to be committed. Received: no record of it.")
                else:
                    records.append(found)
                    failed_part = folder.failed_part(split.name)
                    if not found["failed"] and failed_part in sizes:
                        stale.append(failed_part)
                    keep_last_run(last, found)
    problems += [
        f"expected no parts but those of this job in {folder.path}. Received: {path}, as a worker "
        "of a job that --overwrite replaced leaves it. See that none is at work, delete the file "
        "and give the same command again."
        for path in _parts_of_others(sizes, folder, plan)]
    return Verified(records, problems, broken, stale)


def _parts_of_others(
    paths: Iterable[str], folder: OutputFolder, plan: JobPlan
) -> Iterator[str]:
    """Parts of splits that the plan has not: whoever reads all parts would read rows twice."""
    suffix = sink_class(plan.output_format).suffix
    names = {split.name for split in plan.splits}
    for path in paths:
        parent, _, file = path.rpartition("/")
        match = _PART.fullmatch(file)
        if match and match[2] == suffix and match[1] not in names and parent == folder.path:
            yield path


def finish_job(
    plan: JobPlan, folder: OutputFolder, plan_id: str | None = None
) -> dict[str, Any]:
    """Verifies the job, writes its report and, if all is well, `_SUCCESS` last.

    Counts come from the commit records on disk: those of an earlier run of the same job
    count too, and nothing counts twice. Where files are local they are read again and
    compared by checksum; elsewhere sizes are compared, since checksums were taken while
    writing and reading all output would pass it through this one worker. Of splits at which
    two attempts were at work, or one was killed, checksums are compared everywhere.

    A record that does not hold is deleted, so that the next run does its split again. On a
    local disk, what attempts have on its way is deleted before anything is compared: one that
    was overtaken, whatever stopped it, finds its files gone and can replace nothing after that.

    Args:
      plan: the job's plan.
      folder: its output.
      plan_id: of the plan that must still be there when all is compared, which can take
        minutes; None for a folder that no other job takes.

    Returns:
      The report; its `succeeded` and `reasons` say how the job ended.

    Raises:
      OutputError: the folder is another job's by now; nothing in it is touched.
    """
    for _ in range(_TRIES):
        report = _try_to_finish(plan, folder, plan_id)
        if report is not None:
            return report
    raise OutputError(
        f"expected {folder.path} to be left alone while its parts are compared. Received: each "
        "time another command that finished the job, or began it anew. Give the command again.")


def _try_to_finish(
    plan: JobPlan, folder: OutputFolder, plan_id: str | None
) -> dict[str, Any] | None:
    """The report; None where another command cleared or finished the folder meanwhile."""
    if storage.is_local(folder.path):
        # Not while a command with `--overwrite` takes the folder: its attempts have such names.
        with file_lock(folder.plan):
            if plan_id is not None:
                require_plan_unchanged(folder, plan_id)
            folder.sweep_attempts(split.name for split in plan.splits)
            storage.create(folder.finishing).close()
    verified = verify_job(plan, folder, content=storage.is_local(folder.path))
    if storage.is_local(folder.path):
        # Compared was what the system's memory holds of the files.
        sync_disk_of(folder.path)
    with file_lock(folder.plan):
        if plan_id is not None:
            folder.require_plan(plan_id)
        if storage.is_local(folder.path) and storage.size_bytes(folder.finishing) is None:
            return None
        try:
            return _conclude(plan, folder, verified)
        except FileNotFoundError:
            if storage.is_local(folder.path) and storage.size_bytes(folder.finishing) is None:
                return None
            raise


def _conclude(plan: JobPlan, folder: OutputFolder, verified: Verified) -> dict[str, Any]:
    """Writes what came out."""
    records, problems, broken, stale = verified
    if len(problems) > _NAMED_PROBLEMS:
        more = len(problems) - _NAMED_PROBLEMS
        problems = [*problems[:_NAMED_PROBLEMS], f"{more:,} more splits are not as expected."]
    runs = read_runs(folder)
    plan = as_last_given(plan, runs)
    report = build_report(
        plan, records, problems, time.time(), [run.started_at for run in runs])
    report["splits_withdrawn"] = len(broken)
    storage.delete(stale)
    folder.write_json(folder.report, report)
    _write_page(report, plan, records, runs, folder)
    if broken:
        # Before the sweep: what it deletes is why some of them were read.
        storage.delete([folder.success])
        storage.delete(folder.commit(name) for name in broken)
    folder.sweep(split.name for split in plan.splits)
    if report["succeeded"]:
        if storage.is_local(folder.path):
            # Its time tells parts that were written after it.
            os.utime(folder.finishing)
            storage.replace(folder.finishing, folder.success)
        else:
            storage.create(folder.success).close()
    else:
        storage.delete([folder.finishing, folder.success])
        _LOG.error("the job failed: %s", " ".join(report["reasons"]))
    return report


def _write_page(
    report: dict[str, Any],
    plan: JobPlan,
    records: Sequence[dict[str, Any]],
    runs: Sequence[Run],
    folder: OutputFolder,
) -> None:
    """Writes the report for people, which no job may fail for, and which can be made later."""
    try:
        # That of an earlier run, if this one cannot be written.
        storage.delete([folder.html_report])
        if not has_jinja():
            _LOG.info("no report.html: Jinja2 is not here; mirrorbeam report can make it elsewhere")
            return
        page = make_page(report, plan, records, runs, folder)
        folder.write(folder.html_report, page.encode(errors="backslashreplace"))
    except Exception as error:
        _LOG.warning(
            "no report.html: %s: %s; mirrorbeam report tries again",
            type(error).__name__, error, exc_info=True)
