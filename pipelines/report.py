"""What a job did, from its plan and its commit records."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pipelines.plan import JobPlan
from pipelines.verdict import busy_share, judge, merged_stages
from pipelines.working_times import last_runs, working_times

REPORT_VERSION = 1
# A handful of bad rows never fails a job, however small it is.
TOLERATED_FAILURES = 10

_PACKAGES = ("mirrorbeam", "tensorflow", "keras", "apache-beam", "tfx-bsl", "pyarrow", "numpy")


def too_many_failed(failed: int, rows: int, max_fraction: float) -> str | None:
    """Why so many failed rows fail the job; None where they do not."""
    # As it was typed: 0.29 * 100 is less than 29 in floats.
    limit = max(int(Decimal(repr(max_fraction)) * rows), TOLERATED_FAILURES)
    if failed <= limit:
        return None
    return (
        f"expected at most {limit} failed rows of {rows}. Received: {failed}. See the failed "
        "rows, or run the same command with a higher --max_failed_fraction.")


def build_report(
    plan: JobPlan,
    commits: Sequence[Mapping[str, Any]],
    problems: Sequence[str],
    ended_at: float,
    run_starts: Sequence[float] = (),
) -> dict[str, Any]:
    """The job's report as plain JSON values.

    Args:
      plan: the job's plan.
      commits: commit records that agree with their files, of as many splits as have one.
      problems: what else keeps the job from having succeeded, such as missing splits.
      ended_at: seconds since 1970.
      run_starts: when each command that worked on the job was given, in their order.

    Returns:
      Rows are counts of all splits; rates are rows per second. `rows_per_second` is over
      the time from the first worker's being ready (where a worker says when it was) to the
      last commit, of each run, and `model_rows_per_second` is what the workers' models alone did in
      their warm-up, added up; `rate_of_model` is the ratio of both.
    """
    rows = sum(commit["rows_in"] for commit in commits)
    failed = sum(commit["failed"] for commit in commits)
    excess = too_many_failed(failed, rows, plan.max_failed_fraction)
    reasons = [*problems, *([excess] if excess else [])]
    workers = last_runs(commits)
    times = working_times(commits, run_starts or (plan.started_at,))
    rate = rows / times.scoring_seconds if times.scoring_seconds > 0 else None
    model_rate = times.model_rows_per_second
    devices = sorted({name for worker in workers for name in worker.get("devices", ())})
    stages, busy = merged_stages(workers), busy_share(workers)
    source = str(plan.fingerprint.parts.get("input_format"))
    verdict = judge(stages, busy, plan.arguments, devices, source)
    return {
        "mirrorbeam_report": REPORT_VERSION,
        "succeeded": not reasons,
        "reasons": reasons,
        "rows_in": rows,
        "predicted": sum(commit["predicted"] for commit in commits),
        "failed": failed,
        "failures": _merged_failures(commits),
        "failed_fraction": failed / rows if rows else 0.0,
        "max_failed_fraction": plan.max_failed_fraction,
        "splits": len(plan.splits),
        "splits_committed": len(commits),
        "output_bytes": sum(commit["part"]["bytes"] for commit in commits),
        "started_at": _iso(plan.started_at),
        "ended_at": _iso(ended_at),
        "seconds": round(ended_at - plan.started_at, 3),
        "runs": max(1, len(run_starts)),
        "scoring_seconds": round(times.scoring_seconds, 3),
        "rows_per_second": _rounded(rate),
        "model_rows_per_second": _rounded(model_rate),
        "rate_of_model": _rounded(rate / model_rate if rate and model_rate else None),
        "batch_sizes": _merged_batches(workers),
        "devices": devices,
        "stages": stages,
        "device_busy_share": busy,
        "bound_by": verdict.bound_by,
        "advice": verdict.advice,
        "workers": workers,
        "versions": installed_versions(),
        "fingerprint": plan.fingerprint.digest,
        "arguments": plan.arguments,
    }


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, where installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _merged_failures(commits: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    merged: dict[str, dict[str, int]] = {}
    for commit in commits:
        for stage, errors in commit["failures"].items():
            counts = merged.setdefault(stage, {})
            for error, rows in errors.items():
                counts[error] = counts.get(error, 0) + rows
    return merged


def _merged_batches(workers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    merged: dict[str, int] = {}
    for worker in workers:
        for size, times in worker.get("batches", {}).items():
            merged[size] = merged.get(size, 0) + times
    return dict(sorted(merged.items(), key=lambda item: int(item[0])))


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(
        timespec="milliseconds")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
