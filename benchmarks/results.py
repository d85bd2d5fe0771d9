"""From the figures of single runs to rates, ranges and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Figures = dict[str, Any]


def summarise(runs: Sequence[Mapping[str, float]]) -> Figures:
    """Medians of one contender's runs, with the range of its rate.

    Args:
      runs: of each, `rows`, `wall_seconds`, `cpu_seconds`, `peak_mib` and `start_seconds`.
    """
    rates = [run["rows"] / run["wall_seconds"] for run in runs]
    # CPU clocks tick in hundredths of a second where other processes are summed.
    cpu_seconds = max(statistics.median(run["cpu_seconds"] for run in runs), 0.01)
    rows = runs[0]["rows"]
    return {
        "rows": rows,
        "runs": [dict(run) for run in runs],
        "rows_per_second": statistics.median(rates),
        "rows_per_second_range": [min(rates), max(rates)],
        "rows_per_cpu_second": rows / cpu_seconds,
        "cpu_seconds_per_1000_rows": 1000 * cpu_seconds / rows,
        "wall_seconds": statistics.median(run["wall_seconds"] for run in runs),
        "peak_mib": statistics.median(run["peak_mib"] for run in runs),
        "start_seconds": statistics.median(run["start_seconds"] for run in runs),
    }


def spread(figures: Figures) -> float:
    """How far the rates of a contender's runs lie apart, as a share of the median."""
    low, high = figures["rows_per_second_range"]
    return float((high - low) / figures["rows_per_second"])


def bound_rate(read: Figures, bare: Figures, measure: str = "rows_per_second") -> float:
    """The rate of one that first reads and then scores: 1 / (1/read + 1/bare)."""
    return 1 / (1 / float(read[measure]) + 1 / float(bare[measure]))


# What is better when there is less of it.
LESS_IS_BETTER = frozenset({"wall_seconds", "cpu_seconds_per_1000_rows", "peak_mib"})

# The ceiling, and reading without a model. What begins with `mirrorbeam` is no peer either.
_PARTS = ("bare", "read")


def is_peer(name: str) -> bool:
    """Whether a contender is another system that does the whole job."""
    return name not in _PARTS and not name.startswith("mirrorbeam")


def ratio(contenders: Mapping[str, Figures], above: str, below: str, measure: str) -> float | None:
    """One contender's figure by another's; None where one of them has none.

    Args:
      contenders: their figures.
      above: a contender.
      below: another, `bound` for what reading and the model allow one after the other, or `peers`
        for the best of the others.
      measure: a figure of `summarise`.
    """
    own, other = (_figure(contenders, name, measure) for name in (above, below))
    return None if own is None or not other else own / other


def ratio_range(
    contenders: Mapping[str, Figures], above: str, below: str
) -> tuple[float, float] | None:
    """The least and the largest ratio of two contenders' rates in the same round."""
    if above not in contenders or below not in contenders:
        return None
    ratios = [
        (own["rows"] / own["wall_seconds"]) / (other["rows"] / other["wall_seconds"])
        for own, other in zip(contenders[above]["runs"], contenders[below]["runs"], strict=False)
    ]
    return min(ratios), max(ratios)


def is_met(measure: str, target: float, got: float) -> bool:
    """Whether a ratio is as good as it was to be."""
    return got <= target if measure in LESS_IS_BETTER else got >= target


def _figure(contenders: Mapping[str, Figures], name: str, measure: str) -> float | None:
    if name == "bound":
        if not {"read", "bare"} <= set(contenders):
            return None
        return bound_rate(contenders["read"], contenders["bare"], measure)
    if name == "peers":
        found = [float(figures[measure]) for peer, figures in contenders.items() if is_peer(peer)]
        best = min if measure in LESS_IS_BETTER else max
        return best(found) if found else None
    return float(contenders[name][measure]) if name in contenders else None
