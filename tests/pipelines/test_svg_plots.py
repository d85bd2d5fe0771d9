"""Plots: everything that is drawn lies inside of the drawing."""

from __future__ import annotations

import re

import pytest

from pipelines.svg_plots import WIDTH, Plot, histogram, lying_bars, steps_over_time


def assert_inside(plot: Plot) -> None:
    for bar in plot.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert 0 <= bar.y <= bar.y + bar.height <= plot.height
    for tick in [*plot.x_ticks, *plot.marks]:
        assert 0 <= tick.at <= WIDTH
    for tick in plot.y_ticks:
        assert 0 <= tick.at <= plot.height


@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.9, 59.0, 7000.0, 1e6])
@pytest.mark.parametrize("rows", [0, 1, 999, 10**9])
def test_totals_over_time(seconds: float, rows: int) -> None:
    plot = steps_over_time("t", "d", [(0.0, 0), (seconds, rows)], [(seconds / 2, "run 2")], "rows")
    assert_inside(plot)
    numbers = [float(text) for text in re.findall(r"[\d.]+", plot.line)]
    assert max(numbers) <= WIDTH
    assert plot.x_ticks[0].label == "0"
    assert len(plot.x_ticks) <= 8
    assert len({tick.label for tick in plot.y_ticks}) == len(plot.y_ticks) <= 6


def test_ticks_are_round_and_share_a_unit() -> None:
    plot = steps_over_time("t", "d", [(0.0, 0), (600.0, 2_000_000)], [], "rows")
    assert [tick.label for tick in plot.y_ticks] == ["0", "500k", "1000k", "1500k", "2000k"]
    assert ([tick.label for tick in plot.x_ticks], plot.x_label) == (
        ["0", "2", "4", "6", "8", "10"], "minutes")


def test_bins_and_their_marks() -> None:
    plot = histogram("t", "d", [0.0, 1.0, 2.0, 3.0], [99_999, 0, 1], 2.0)
    assert_inside(plot)
    first, none, last = plot.bars
    assert first.height > last.height > 1 > none.height == 0
    assert [bar.is_marked for bar in plot.bars] == [False, False, True]
    assert last.label == "2 to 3 seconds"


def test_lying_bars_are_as_long_as_their_values() -> None:
    values = [("read", 1.0, "1 s"), ("write", 4.0, "4 s"), ("x", 0.0, "0 s")]
    plot = lying_bars("t", "d", values, "write")
    assert_inside(plot)
    read, write, nothing = plot.bars
    assert write.width == pytest.approx(4 * read.width)
    assert nothing.width == 0
    assert [bar.is_marked for bar in plot.bars] == [False, True, False]
