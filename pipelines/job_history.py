"""How a job went over time, from its commit records: bounded, however many splits it has."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

MOST_POINTS = 240
MOST_BINS = 24
SLOWEST = 10
# A straggler took longer than the median split by this factor, and by so many seconds.
STRAGGLER_FACTOR, STRAGGLER_SECONDS = 3.0, 5.0


@dataclasses.dataclass(frozen=True)
class SlowSplit:
    """One of the splits that took longest.

    Attributes:
      name: of the split.
      rows: those that were read.
      seconds: from its first block to its commit.
      is_straggler: it took much longer than most.
    """

    name: str
    rows: int
    seconds: float
    is_straggler: bool


@dataclasses.dataclass(frozen=True)
class Durations:
    """How long splits took.

    Attributes:
      median_seconds: of all of them.
      longest_seconds: of the slowest.
      straggler_seconds: what took longer is a straggler.
      stragglers: how many there are.
      edges: of the bins of a histogram, in seconds; one more than `counts`.
      counts: splits by bin.
      slowest: the slowest ones, the slowest first.
    """

    median_seconds: float
    longest_seconds: float
    straggler_seconds: float
    stragglers: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    slowest: tuple[SlowSplit, ...]


@dataclasses.dataclass(frozen=True)
class History:
    """How a job went.

    Attributes:
      points: seconds of work and rows committed by then, from (0, 0) on. The time between
        the last commit of a run and the next run is left out.
      resumed_at: seconds of work when a later command went on with the job.
      durations: of the splits; None without any.
    """

    points: tuple[tuple[float, int], ...]
    resumed_at: tuple[float, ...]
    durations: Durations | None


def make_history(records: Sequence[Mapping[str, Any]], run_starts: Sequence[float]) -> History:
    """Tells how a job went.

    Args:
      records: commit records, in any order.
      run_starts: when each run began, in seconds since 1970, in order; at least one.
    """
    commits = sorted((record["ended_at"], record["rows_in"]) for record in records)
    points: list[tuple[float, int]] = [(0.0, 0)]
    resumed_at: list[float] = []
    run, offset = 0, 0.0
    for ended_at, rows in commits:
        own = max(0, bisect.bisect_right(run_starts, ended_at) - 1)
        while run < own:
            # Where the run before ended nobody noted if it was killed: its last commit is known.
            offset = points[-1][0]
            resumed_at.append(offset)
            run += 1
        seconds = offset + max(0.0, ended_at - run_starts[run])
        points.append((max(points[-1][0], seconds), points[-1][1] + rows))
    return History(_thinned(points), tuple(resumed_at), _durations(records))


def _thinned(points: Sequence[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    """At most `MOST_POINTS` of them, evenly over time, so that a standstill still shows."""
    if len(points) <= MOST_POINTS or not points[-1][0]:
        return tuple(points if len(points) <= MOST_POINTS else (points[0], points[-1]))
    step = points[-1][0] / (MOST_POINTS - 1)
    times = [seconds for seconds, _ in points]
    kept = []
    for index in range(MOST_POINTS):
        until = index * step if index < MOST_POINTS - 1 else times[-1]
        kept.append((until, points[bisect.bisect_right(times, until) - 1][1]))
    return tuple(kept)


def _durations(records: Sequence[Mapping[str, Any]]) -> Durations | None:
    if not records:
        return None
    seconds = sorted(record["seconds"] for record in records)
    median, longest = statistics.median(seconds), seconds[-1]
    limit = max(STRAGGLER_FACTOR * median, median + STRAGGLER_SECONDS)
    bins = max(1, min(MOST_BINS, len(seconds)))
    edges = tuple(longest * index / bins for index in range(bins + 1))
    # The longest is in the last bin, not behind it.
    ends = [bisect.bisect_left(seconds, edge) for edge in edges[1:-1]]
    places = [0, *ends, len(seconds)]
    counts = tuple(after - before for before, after in itertools.pairwise(places))
    slowest = sorted(records, key=lambda record: (-record["seconds"], record["split"]))[:SLOWEST]
    return Durations(
        median_seconds=median,
        longest_seconds=longest,
        straggler_seconds=limit,
        stragglers=len(seconds) - bisect.bisect_right(seconds, limit),
        edges=edges,
        counts=counts,
        slowest=tuple(
            SlowSplit(
                record["split"], record["rows_in"], record["seconds"], record["seconds"] > limit
            )
            for record in slowest
        ),
    )
