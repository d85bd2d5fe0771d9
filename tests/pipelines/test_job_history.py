"""A job's history: thinned and binned, but no row and no split is lost on the way."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.job_history import MOST_BINS, MOST_POINTS, SLOWEST, make_history


def record(index: int, ended_at: float, rows: int = 10, seconds: float = 1.0) -> dict[str, Any]:
    return {"split": f"{index:05d}", "ended_at": ended_at, "rows_in": rows, "seconds": seconds}


def test_points_rise_with_the_commits() -> None:
    records = [record(1, 130.0, 5), record(0, 110.0, 7)]
    history = make_history(records, [100.0])
    assert history.points == ((0.0, 0), (10.0, 7), (30.0, 12))
    assert history.resumed_at == ()


def test_the_time_between_runs_is_left_out() -> None:
    records = [record(0, 110.0), record(1, 5020.0)]
    history = make_history(records, [100.0, 3000.0, 5000.0])
    assert history.points == ((0.0, 0), (10.0, 10), (30.0, 20))
    assert history.resumed_at == (10.0, 10.0)


def test_a_clock_that_is_behind_does_not_turn_time_back() -> None:
    history = make_history([record(0, 90.0), record(1, 101.0)], [100.0])
    assert history.points == ((0.0, 0), (0.0, 10), (1.0, 20))


def test_nothing_committed_yet() -> None:
    history = make_history([], [100.0])
    assert history.points == ((0.0, 0),)
    assert history.durations is None


def test_a_standstill_shows_among_a_hundred_thousand_splits() -> None:
    early = [record(index, 1000 + index / 500) for index in range(50_000)]
    late = [record(index, 2000 + index / 500) for index in range(50_000)]
    history = make_history([*early, *late], [1000.0])
    assert len(history.points) == MOST_POINTS
    assert history.points[-1][1] == 1_000_000
    standing = [seconds for seconds, rows in history.points if rows == 500_000]
    assert standing[-1] - standing[0] > 850


def test_stragglers_are_named() -> None:
    records = [record(index, 200.0, seconds=10 + index / 100) for index in range(50)]
    records.append(record(50, 300.0, rows=3, seconds=60.0))
    durations = make_history(records, [100.0]).durations
    assert durations is not None
    assert (durations.stragglers, durations.longest_seconds) == (1, 60.0)
    assert [split.name for split in durations.slowest if split.is_straggler] == ["00050"]
    assert len(durations.slowest) == SLOWEST


def test_short_splits_have_no_stragglers() -> None:
    records = [record(0, 101.0, seconds=0.01), record(1, 102.0, seconds=0.02),
               record(2, 103.0, seconds=0.5)]  # fmt: skip
    durations = make_history(records, [100.0]).durations
    assert durations is not None
    assert durations.stragglers == 0


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1000), st.floats(0, 1e4)), max_size=400),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=4),
)
def test_sums_are_kept(commits: list[tuple[float, int, float]], starts: list[float]) -> None:
    records = [record(index, *commit) for index, commit in enumerate(commits)]
    history = make_history(records, sorted(starts))
    seconds = [point[0] for point in history.points]
    assert seconds == sorted(seconds)
    assert len(seconds) <= MOST_POINTS
    assert history.points[-1][1] == sum(rows for _, rows, _ in commits)
    if history.durations is not None:
        assert sum(history.durations.counts) == len(records)
        assert len(history.durations.counts) == len(history.durations.edges) - 1 <= MOST_BINS
