"""`mirrorbeam status`: how far a job is, from its output folder alone."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipelines import storage
from pipelines.beam_options import pipeline_options, use_for_files
from pipelines.job_reading import read_job, read_records
from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan
from pipelines.runs import Run
from pipelines.summary import table
from pipelines.time_texts import duration, utc

EXIT_DONE = 0

State = Literal["running", "waiting", "done", "failed", "stopped", "silent"]

# The rate of late is over so much time, or over a run that is shorter.
RECENT_SECONDS = 300.0
# A job is silent when nothing was committed for so long, and for so many times as long as
# its longest split took.
SILENT_SECONDS, SILENT_SPLITS = 600.0, 10


@dataclasses.dataclass(frozen=True)
class Status:
    """How far a job is.

    Attributes:
      state: `running`; `waiting`: the command goes on by itself after a failure;
        `done`, with `_SUCCESS`; `failed`, as its report or its command said;
        `stopped`: the command's process is gone; `silent`: apparently dead.
      splits: of the plan.
      splits_committed: those with a record.
      rows_in: rows of committed splits, the sum of the next two.
      predicted: those with a prediction.
      failed: those without.
      rows: of the whole input, where the plan knows them.
      runs: commands that worked on the job.
      started_at: seconds since 1970 when the last of them was given.
      last_commit_at: seconds since 1970; None before the first.
      rows_per_second: of the last run, from its start to its last commit or, while it runs,
        to now; None before its first commit.
      recent_rows_per_second: the same over the last five minutes of the job.
      remaining_seconds: at the recent rate, by input bytes; None where that tells nothing.
      reasons: why the job or its last run failed, if it did.
      again_at: seconds since 1970 when a command that waits is to go on.
    """

    state: State
    splits: int
    splits_committed: int
    rows_in: int
    predicted: int
    failed: int
    rows: int | None
    runs: int
    started_at: float
    last_commit_at: float | None
    rows_per_second: float | None
    recent_rows_per_second: float | None
    remaining_seconds: float | None
    reasons: tuple[str, ...]
    again_at: float | None = None


def run(flags: argparse.Namespace, beam_arguments: Sequence[str]) -> int:
    """Carries `mirrorbeam status` out.

    Args:
      flags: what the parser understood.
      beam_arguments: the rest of the command line, by which Beam's filesystems go.

    Raises:
      CommandError: the folder is no job's output, or an option is not Beam's.
    """
    folder = OutputFolder(flags.folder)
    if beam_arguments or not storage.is_local(folder.path):
        use_for_files(pipeline_options(beam_arguments, "status"))
    status = read_status(folder, now=time.time())
    if flags.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(status), indent=1) + "\n")
    else:
        sys.stdout.write(describe_status(status, folder, now=time.time()))
    return EXIT_DONE


def read_status(folder: OutputFolder, now: float) -> Status:
    """Reads a job's plan, runs and commit records.

    Args:
      folder: the job's output.
      now: seconds since 1970.

    Raises:
      CommandError: there is no plan, or the folder cannot be read.
    """
    job = read_job(folder)
    records = read_records(folder, job.plan)
    return make_status(job.plan, records, job.runs, job.report, job.succeeded, now)


def make_status(
    plan: JobPlan,
    records: Sequence[Mapping[str, Any]],
    runs: Sequence[Run],
    report: Mapping[str, Any] | None,
    succeeded: bool,
    now: float,
) -> Status:
    """How far a job is.

    Args:
      plan: the job's plan.
      records: commit records, in any order.
      runs: the commands that worked on it, in their order.
      report: what the finish wrote, if it came to that.
      succeeded: whether `_SUCCESS` is there.
      now: seconds since 1970.
    """
    names = {split.name for split in plan.splits}
    records = [record for record in records if record["split"] in names]
    last_commit_at = max((record["ended_at"] for record in records), default=None)
    started_at = runs[-1].started_at if runs else plan.started_at
    state = _state(runs, records, report, succeeded, started_at, now)
    until = now if state == "running" else max(last_commit_at or started_at, started_at)
    of_run = [record for record in records if record["ended_at"] >= started_at]
    recent_from = max(started_at, until - RECENT_SECONDS)
    recent = [record for record in of_run if record["ended_at"] >= recent_from]
    return Status(
        state=state,
        splits=len(plan.splits),
        splits_committed=len(records),
        rows_in=_rows(records),
        predicted=sum(record["predicted"] for record in records),
        failed=sum(record["failed"] for record in records),
        rows=plan.rows,
        runs=max(1, len(runs)),
        started_at=started_at,
        last_commit_at=last_commit_at,
        rows_per_second=_rate(_rows(of_run), until - started_at),
        recent_rows_per_second=_rate(_rows(recent), until - recent_from),
        remaining_seconds=_remaining(plan, records, recent, until - recent_from),
        reasons=_reasons(runs, report) if state in ("failed", "waiting") else (),
        again_at=runs[-1].again_at if state == "waiting" else None,
    )


def describe_status(status: Status, folder: OutputFolder, now: float) -> str:
    """A few lines for people."""
    share = status.splits_committed / status.splits if status.splits else 1.0
    rows = f"{status.rows_in:,}" + (f" of {status.rows:,}" if status.rows is not None else "")
    lines = {
        "state": _told_state(status),
        "splits": f"{status.splits_committed:,} of {status.splits:,} committed ({share:.0%})",
        "rows": f"{rows}: {status.predicted:,} predicted, {status.failed:,} failed",
    }
    if status.rows_per_second:
        lines["rate"] = f"{status.rows_per_second:,.0f} rows/s"
        if status.recent_rows_per_second and status.state == "running":
            lines["rate"] += f", {status.recent_rows_per_second:,.0f} of late"
    if status.remaining_seconds is not None and status.state == "running":
        lines["remaining"] = f"about {duration(status.remaining_seconds)}"
    if status.last_commit_at is not None:
        lines["last commit"] = (
            f"{utc(status.last_commit_at)}, {duration(now - status.last_commit_at)} ago")
    lines["started"] = utc(status.started_at) + (
        f", run {status.runs}" if status.runs > 1 else "")
    if status.again_at is not None:
        lines["goes on"] = utc(status.again_at)
    if status.reasons:
        lines["reason"] = status.reasons[0]
    lines["output"] = folder.path
    return table(lines)


STATES: dict[State, str] = {
    "running": "running",
    "waiting": "waiting: storage or files failed; the command is to go on by itself",
    "done": "done",
    "failed": "failed; the same command goes on with what is not committed",
    "stopped": "stopped: its process is gone; the same command goes on with it",
    "silent": "no sign of life for long: if it is dead, the same command goes on with it",
}


def _told_state(status: Status) -> str:
    if status.state == "failed" and status.splits_committed == status.splits:
        return "failed, with all its splits committed: see the reason"
    return STATES[status.state]


def _state(
    runs: Sequence[Run],
    records: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any] | None,
    succeeded: bool,
    started_at: float,
    now: float,
) -> State:
    if succeeded:
        return "done"
    # Two commands at once; a container's next life has the number of the one before.
    if any(run.is_at_work and run.pid != runs[-1].pid for run in runs[:-1]):
        return "running"
    if runs and runs[-1].is_waiting(now):
        return "waiting"
    if runs and runs[-1].exit_code:
        return "failed"
    # A report is deleted when a run begins: this one is the last run's, or a later one's.
    if report is not None and not report["succeeded"]:
        return "failed"
    if runs and runs[-1].is_gone:
        return "stopped"
    heard_at = max([started_at, *(record["ended_at"] for record in records)])
    longest = max((record["seconds"] for record in records), default=0.0)
    silent = now - heard_at > max(SILENT_SECONDS, SILENT_SPLITS * longest)
    return "silent" if silent else "running"


def _reasons(runs: Sequence[Run], report: Mapping[str, Any] | None) -> tuple[str, ...]:
    """A run that wrote a report notes no reason of its own."""
    if runs and runs[-1].reason is not None:
        return (runs[-1].reason,)
    return tuple(report["reasons"]) if report else ()


def _remaining(
    plan: JobPlan,
    records: Sequence[Mapping[str, Any]],
    recent: Sequence[Mapping[str, Any]],
    recent_seconds: float,
) -> float | None:
    """Seconds until all is committed, as fast as of late."""
    # An empty file has work too: its part and its record.
    sizes = {split.name: max(1, split.size_bytes) for split in plan.splits}
    left = sum(sizes.values()) - sum(sizes[record["split"]] for record in records)
    done = sum(sizes[record["split"]] for record in recent)
    if not left:
        return 0.0
    return round(left / done * recent_seconds, 1) if done and recent_seconds > 0 else None


def _rate(rows: int, seconds: float) -> float | None:
    return float(f"{rows / seconds:.4g}") if rows and seconds > 0 else None


def _rows(records: Sequence[Mapping[str, Any]]) -> int:
    return sum(record["rows_in"] for record in records)
