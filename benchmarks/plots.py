"""Plots of a case's rates, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.results import is_peer

_PANELS = (("rows_per_second", "rows/s"), ("rows_per_cpu_second", "rows per CPU second"))


def plot_rates(contenders: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draws the rates of all contenders as bars on a scale of powers of ten.

    Args:
      contenders: figures by name.
      path: the SVG file, which is the same for the same figures.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(contenders)[::-1]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9}):
        figure = Figure(figsize=(9, 0.6 + 0.32 * len(names)), layout="constrained")
        for axes, (measure, label) in zip(figure.subplots(1, 2, sharey=True), _PANELS, strict=True):
            rates = [contenders[name][measure] for name in names]
            bars = axes.barh(names, rates, color=[_colour(name) for name in names])
            axes.bar_label(
                bars, [f" {rate:,.3g}" if rate < 1000 else f" {rate:,.0f}" for rate in rates]
            )
            axes.set_xscale("log")
            axes.set_xlim(min(rates) / 3, max(rates) * 8)
            axes.set_xlabel(label)
            axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # Matplotlib leaves spaces at the ends of lines.
    lines = (line.rstrip() for line in path.read_text().splitlines())
    path.write_text("\n".join(lines) + "\n")


def _colour(name: str) -> str:
    if name.startswith("mirrorbeam"):
        return "tab:blue"
    return "tab:orange" if is_peer(name) else "0.6"
