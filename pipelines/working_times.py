"""How long a job was at work, over all of its runs, and what its models could do by then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class WorkingTimes(NamedTuple):
    """What the rates of a job are made from.

    Attributes:
      scoring_seconds: from the first worker's being ready to the last commit of each run,
        added up: the time between runs is not in it.
      model_rows_per_second: what the models of the workers did alone, all workers of a run
        together; the mean of the runs by time. None where no worker told.
    """

    scoring_seconds: float
    model_rows_per_second: float | None


def working_times(
    commits: Sequence[Mapping[str, Any]], run_starts: Sequence[float]
) -> WorkingTimes:
    """Takes a job's working times from its commit records.

    Args:
      commits: commit records, in any order.
      run_starts: when each run began, in seconds since 1970, in order.
    """
    of_runs: list[list[Mapping[str, Any]]] = [[] for _ in run_starts]
    for commit in commits:
        before = sum(start <= commit["ended_at"] for start in run_starts)
        of_runs[max(0, before - 1)].append(commit)
    seconds: list[float] = []
    model_rates: list[float] = []
    for start, own in zip(run_starts, of_runs, strict=True):
        if not own:
            continue
        workers = last_runs(own)
        ready_at = min(
            (worker["ready_at"] for worker in workers if worker.get("ready_at")), default=start)
        # A predictor that served an earlier job of its process was ready before this one.
        last_commit_at = max(commit["ended_at"] for commit in own)
        seconds.append(max(0.0, last_commit_at - max(ready_at, start)))
        model_rates.append(
            sum(worker.get("model_rows_per_second") or 0.0 for worker in workers))
    told = [(time, rate) for time, rate in zip(seconds, model_rates, strict=True) if rate]
    weight = sum(time for time, _ in told)
    mean = sum(time * rate for time, rate in told) / weight if weight else None
    return WorkingTimes(sum(seconds), mean)


def last_runs(commits: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last description that each worker process left in the commits: its totals."""
    runs: dict[str, dict[str, Any]] = {}
    for commit in sorted(commits, key=lambda commit: commit["ended_at"]):
        run = commit.get("run")
        if run:
            runs[str(run.get("process"))] = run
    return [runs[process] for process in sorted(runs)]


def keep_last_run(last: dict[str, dict[str, Any]], record: dict[str, Any]) -> None:
    """Takes what each process said before its last record out of the records.

    Args:
      last: by process, the record that has its last `run`; {} before the first call.
      record: the next one; it or an earlier one is changed in place.
    """
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
