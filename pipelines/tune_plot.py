"""The plot of `mirrorbeam tune`: rate and memory against batch size."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING, Any

from pipelines import storage
from pipelines.errors import CommandError

if TYPE_CHECKING:
    from pipelines.tune_candidates import Candidate, Findings

_INCHES = (7.0, 5.0)
_DOTS_PER_INCH = 150


def require_matplotlib() -> None:
    """Refuses a plot that could not be drawn.

    Raises:
      CommandError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError(
            "expected matplotlib for --plot. Received: an installation without it. Install "
            "mirrorbeam[report], or leave --plot out."
        )


def write_plot(findings: Findings, title: str, path: str) -> None:
    """Draws every candidate's rates, and peaks where there are any, over batch sizes.

    Args:
      findings: what was measured.
      title: of the figure.
      path: ends with `.png` or `.svg`; on any Beam filesystem.

    Raises:
      OSError: the file cannot be written.
    """
    drawing = io.BytesIO()
    figure(findings, title).savefig(drawing, format=path.lower().rpartition(".")[2])
    with storage.create(path) as file:
        file.write(drawing.getvalue())


def figure(findings: Findings, title: str) -> Any:
    """The same as a matplotlib figure, which no window knows of."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, NullFormatter, StrMethodFormatter

    measured = [candidate for candidate in findings.candidates if candidate.sweep is not None]
    has_peaks = any(peak for candidate in measured for _, peak in _peaks(candidate))
    drawn = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = drawn.subplots(2 if has_peaks else 1, 1, sharex=True, squeeze=False)[:, 0]
    for candidate in measured:
        assert candidate.sweep is not None
        rates = [(size.rows, size.rows_per_second) for size in candidate.sweep.sizes]
        label = candidate.variant.name + (" (refused)" if candidate.refusal else "")
        [line] = axes[0].plot(*zip(*rates, strict=True), marker=".", label=label)
        chosen = (candidate.sweep.chosen, candidate.rows_per_second)
        axes[0].plot(*chosen, marker="o", markersize=9, color=line.get_color())
        peaks = _peaks(candidate)
        if has_peaks and peaks:
            axes[1].plot(*zip(*peaks, strict=True), marker=".", color=line.get_color())
    axes[0].set_title(title)
    axes[0].set_ylabel("rows per second")
    axes[0].yaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0].legend()
    if has_peaks:
        axes[1].set_ylabel("peak memory of a device")
        axes[1].yaxis.set_major_formatter(EngFormatter("B"))
    sizes = sorted({size.rows for c in measured if c.sweep for size in c.sweep.sizes})
    axes[-1].set_xlabel("rows per batch, all devices together (the large dot is chosen)")
    axes[-1].set_xscale("log", base=2)
    axes[-1].set_xticks(sizes)
    axes[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[-1].xaxis.set_minor_formatter(NullFormatter())
    axes[-1].tick_params(axis="x", rotation=45)
    for part in axes:
        part.set_ylim(bottom=0)
        part.grid(visible=True, alpha=0.3)
    return drawn


def _peaks(candidate: Candidate) -> list[tuple[int, int]]:
    sizes = candidate.sweep.sizes if candidate.sweep is not None else ()
    return [(size.rows, size.peak_bytes) for size in sizes if size.peak_bytes is not None]
