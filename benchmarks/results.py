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


def ratio(contenders: Mapping[str, Figures], above: str, below: str, measure: str) -> float | None:
    """One contender's figure by another's; None where one of them has none.

    Args:
      contenders: their figures.
      above: a contender.
      below: another, `bound` for what reading and the model allow one after the other, or `peers`
        for the best of the others.
      measure: a figure.
    """
    own = _figure(contenders, above, measure)
    other = _figure(contenders, below, measure, above)
    return None if own is None or not other else own / other


# Who is no peer: the ceiling, parts of the path, and this project.
NOT_PEERS = ("bare", "read", "mirrorbeam")


def _figure(
    contenders: Mapping[str, Figures], name: str, measure: str, rival: str = ""
) -> float | None:
    if name == "bound":
        if not _has(contenders, "read", measure) or not _has(contenders, "bare", measure):
            return None
        return bound_rate(contenders["read"], contenders["bare"], measure)
    if name == "peers":
        found = [
            float(figures[measure])
            for peer, figures in contenders.items()
            if peer not in NOT_PEERS and not peer.startswith(rival) and measure in figures
        ]
        best = max if measure.startswith("rows_per") else min
        return best(found) if found else None
    return float(contenders[name][measure]) if _has(contenders, name, measure) else None


def _has(contenders: Mapping[str, Figures], name: str, measure: str) -> bool:
    return measure in contenders.get(name, {})
