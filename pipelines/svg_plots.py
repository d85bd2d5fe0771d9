"""Where the lines and bars of a plot lie, as numbers that a template writes as SVG.

Drawn by hand rather than by matplotlib, whose import alone would take longer than many jobs'
last step: these take milliseconds, follow a page's colours and are a few kilobytes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

WIDTH = 720.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 74.0, 16.0, 12.0, 42.0
_HEIGHT = 240.0
_BAR_HEIGHT, _BAR_STEP = 16.0, 26.0
_BAR_LEFT, _BAR_RIGHT = 150.0, 150.0
# What is there at all is seen.
_LEAST = 1.5

_SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_UNITS = ((1.0, "seconds"), (60.0, "minutes"), (3600.0, "hours"), (86400.0, "days"))


@dataclasses.dataclass(frozen=True)
class Tick:
    """A place on an axis, and its label."""

    at: float
    label: str


@dataclasses.dataclass(frozen=True)
class Bar:
    """A bar: `label` says of what, `text` how much that is, `is_marked` that it stands out."""

    x: float
    y: float
    width: float
    height: float
    label: str
    text: str
    is_marked: bool = False


@dataclasses.dataclass(frozen=True)
class Plot:
    """A drawing.

    Attributes:
      title: what it shows.
      description: the same for those who do not see it.
      height: of the drawing, in its own units; it is `WIDTH` wide.
      frame: left, top, right and bottom of the axes; None of bars that lie.
      line: the path of a line, if there is one.
      bars: lying ones without a frame, standing ones in it.
      marks: where a vertical line stands, labelled.
      x_ticks: of the horizontal axis.
      y_ticks: of the vertical one.
      x_label: what the horizontal axis is.
      y_label: what the vertical one is.
    """

    title: str
    description: str
    height: float
    frame: tuple[float, float, float, float] | None = None
    line: str = ""
    bars: tuple[Bar, ...] = ()
    marks: tuple[Tick, ...] = ()
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    x_label: str = ""
    y_label: str = ""

    @property
    def area(self) -> str:
        """The path of what lies below the line."""
        if self.frame is None or not self.line:
            return ""
        left, _, right, bottom = self.frame
        return f"{self.line}H{right:.1f}V{bottom:.1f}H{left:.1f}Z"


def steps_over_time(
    title: str,
    description: str,
    points: Sequence[tuple[float, int]],
    marks: Sequence[tuple[float, str]],
    y_label: str,
) -> Plot:
    """A total that grows in steps.

    Args:
      title: what it shows.
      description: the same in words.
      points: seconds and total, in their order; at least one.
      marks: seconds, and what happened then.
      y_label: what the total is of.
    """
    unit_seconds, unit = _unit(points[-1][0])
    longest = max(points[-1][0], 1e-3)
    highest, y_ticks = _vertical(max(1, points[-1][1]))
    span = WIDTH - _LEFT - _RIGHT

    def x_of(seconds: float) -> float:
        return _LEFT + span * seconds / longest

    first = _y_of(points[0][1], highest)
    path = [f"M{x_of(points[0][0]):.1f} {first:.1f}"]
    for seconds, total in points[1:]:
        path.append(f"H{x_of(seconds):.1f}V{_y_of(total, highest):.1f}")
    x_ticks = tuple(
        Tick(x_of(value * unit_seconds), f"{value:g}") for value in _nice(longest / unit_seconds, 6)
    )
    return Plot(
        title, description, _HEIGHT, _frame(), "".join(path),
        marks=tuple(Tick(x_of(seconds), label) for seconds, label in marks),
        x_ticks=x_ticks, y_ticks=y_ticks, x_label=unit, y_label=y_label,
    )  # fmt: skip


def histogram(
    title: str,
    description: str,
    edges: Sequence[float],
    counts: Sequence[int],
    marked_from: float,
) -> Plot:
    """How often times were how long.

    Args:
      title: what it shows.
      description: the same in words.
      edges: of the bins, in seconds.
      counts: by bin.
      marked_from: bins that begin there or later stand out.
    """
    longest = max(edges[-1], 1e-6)
    unit_seconds, unit = _unit(longest)
    highest, y_ticks = _vertical(max(1, *counts))
    span = WIDTH - _LEFT - _RIGHT
    bars = []
    for start, stop, count in zip(edges, edges[1:], counts, strict=False):
        height = max(_LEAST, (_HEIGHT - _TOP - _BOTTOM) * count / highest) if count else 0.0
        left, right = (_LEFT + span * place / longest for place in (start, stop))
        label = f"{start / unit_seconds:.3g} to {stop / unit_seconds:.3g} {unit}"
        bars.append(
            Bar(left + 0.5, _HEIGHT - _BOTTOM - height, max(0.5, right - left - 1), height,
                label, f"{count:,}", start >= marked_from)
        )  # fmt: skip
    x_ticks = tuple(
        Tick(_LEFT + span * value * unit_seconds / longest, f"{value:g}")
        for value in _nice(longest / unit_seconds, 6)
    )
    return Plot(
        title, description, _HEIGHT, _frame(), bars=tuple(bars), x_ticks=x_ticks,
        y_ticks=y_ticks, x_label=unit, y_label="splits",
    )  # fmt: skip


def lying_bars(
    title: str, description: str, values: Sequence[tuple[str, float, str]], marked: str | None
) -> Plot:
    """Bars below each other.

    Args:
      title: what they show.
      description: the same in words.
      values: label, length and text of each.
      marked: the label of the one that stands out.
    """
    longest = max([length for _, length, _ in values], default=0.0) or 1.0
    span = WIDTH - _BAR_LEFT - _BAR_RIGHT
    bars = tuple(
        Bar(_BAR_LEFT, 4 + index * _BAR_STEP,
            max(_LEAST, span * length / longest) if length else 0.0, _BAR_HEIGHT,
            label, text, label == marked)
        for index, (label, length, text) in enumerate(values)
    )  # fmt: skip
    return Plot(title, description, 8 + len(bars) * _BAR_STEP, bars=bars)


def _frame() -> tuple[float, float, float, float]:
    return _LEFT, _TOP, WIDTH - _RIGHT, _HEIGHT - _BOTTOM


def _y_of(value: float, highest: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / highest


def _vertical(most: int) -> tuple[float, tuple[Tick, ...]]:
    """The top of the axis and its ticks, for whole numbers."""
    values = [value for value in _nice(most, 4) if value == int(value)]
    return float(most), tuple(Tick(_y_of(value, most), _count(value, most)) for value in values)


def _nice(most: float, ticks: int) -> list[float]:
    """Round numbers from 0 to `most`, about so many."""
    step = 10.0 ** math.floor(math.log10(most / ticks))
    step *= next(factor for factor in (1, 2, 5, 10) if most / (step * factor) <= ticks * 1.0001)
    return [round(index * step, 12) for index in range(math.floor(most / step * 1.0001) + 1)]


def _unit(seconds: float) -> tuple[float, str]:
    fitting = [unit for unit in _UNITS if seconds >= 2 * unit[0]]
    return fitting[-1] if fitting else _UNITS[0]


def _count(value: float, most: float) -> str:
    """A number in the unit that suits the largest one."""
    fitting = [(size, suffix) for size, suffix in _SUFFIXES if most >= 10 * size]
    size, suffix = fitting[0] if fitting else (1.0, "")
    return f"{value / size:g}{suffix if value else ''}"
