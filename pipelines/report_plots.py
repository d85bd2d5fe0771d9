"""The plots of a report's page: what each shows, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.job_history import History
from pipelines.svg_plots import Plot, histogram, lying_bars, steps_over_time
from pipelines.time_texts import short_duration
from pipelines.verdict import DEVICE

_MOST_SIZES, _MOST_MARKS = 20, 50


def progress_plot(history: History) -> Plot | None:
    """Rows by time; None where no split tells how long it took."""
    if history.durations is None:
        return None
    seconds, rows = history.points[-1]
    return steps_over_time(
        "Rows committed over time",
        f"A line that rises from 0 to {rows:,} rows within {short_duration(seconds)} of work"
        + (f", in {len(history.resumed_at) + 1} runs." if history.resumed_at else "."),
        history.points,
        [(at, f"run {number}") for number, at in enumerate(history.resumed_at[:_MOST_MARKS], 2)],
        "rows",
    )


def stages_plot(report: Mapping[str, Any]) -> Plot | None:
    """Seconds by stage; None where none was measured."""
    if not report["stages"]:
        return None
    values = [
        (name, stage["seconds"], f"{short_duration(stage['seconds'])}, {stage['share']:.0%}")
        for name, stage in report["stages"].items()
    ]
    return lying_bars(
        "Seconds by stage",
        "Bars of the seconds that all threads spent in each stage: "
        + ", ".join(f"{name} {text}" for name, _, text in values) + ".",
        values, "step" if report.get("bound_by") == DEVICE else report.get("bound_by"),
    )  # fmt: skip


def durations_plot(history: History) -> Plot | None:
    """How long splits took; None where none tells."""
    durations = history.durations
    if durations is None or durations.longest_seconds <= 0:
        return None
    return histogram(
        "How long splits took",
        f"A histogram: half of the splits took at most {short_duration(durations.median_seconds)}, "
        f"the slowest {short_duration(durations.longest_seconds)}.",
        durations.edges, durations.counts,
        durations.straggler_seconds,
    )  # fmt: skip


def sizes_plot(report: Mapping[str, Any]) -> Plot | None:
    """How often each batch size ran; None where none did."""
    often = sorted(report["batch_sizes"].items(), key=lambda item: -item[1])[:_MOST_SIZES]
    if not often:
        return None
    values = [
        (f"{int(size):,} rows", float(times), f"{times:,} batches")
        for size, times in sorted(often, key=lambda item: int(item[0]))
    ]
    return lying_bars(
        "Batches by size",
        "Bars of how often each batch size ran: "
        + ", ".join(f"{text} of {size}" for size, _, text in values) + ".",
        values, None,
    )  # fmt: skip
