"""A report's figures as tables of text: stages, batch sizes, workers, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_WORKERS = 50
_MOST_SIZES = 4


def describe_details(report: Mapping[str, Any]) -> str:
    """Tables of what the summary leaves out, each below an empty line; none without figures."""
    stages = [
        (name, f"{stage['seconds']:,.3f}", f"{stage['share']:.1%}", f"{stage['threads']:,}",
         f"{stage['cpu_seconds']:,.3f}")
        for name, stage in report["stages"].items()
    ]  # fmt: skip
    sizes = [(f"{int(size):,}", f"{times:,}") for size, times in report["batch_sizes"].items()]
    workers = [
        (str(worker.get("process")), ", ".join(map(device_name, worker.get("devices", ()))),
         f"{worker.get('rows', 0):,}", batches_of(worker), f"{worker.get('out_of_memory', 0):,}",
         f"{worker.get('model_loads', 0):,}")
        for worker in report["workers"][:MOST_WORKERS]
    ]  # fmt: skip
    failures = [
        (stage, error, f"{rows:,}")
        for stage, errors in report["failures"].items()
        for error, rows in sorted(errors.items(), key=lambda item: -item[1])
    ]
    text = (
        _table(("stage", "seconds", "share", "threads", "cpu seconds"), stages)
        + _table(("batch size", "batches"), sizes)
        + _table(("worker", "devices", "rows", "batches by size", "out of memory", "model loads"),
                 workers)
        + _table(("failed in", "error", "rows"), failures)
    )  # fmt: skip
    more = len(report["workers"]) - MOST_WORKERS
    return text + (f"\nand {more:,} more workers: see --format json\n" if more > 0 else "")


def device_name(name: str) -> str:
    """`GPU:0` of `/device:GPU:0`."""
    return name.rpartition("device:")[2]


def batches_of(worker: Mapping[str, Any]) -> str:
    """The sizes of batches that a worker ran most often, with how often: `9×128, 2×64`."""
    sizes = sorted(worker.get("batches", {}).items(), key=lambda item: (-item[1], int(item[0])))
    text = ", ".join(f"{times:,}×{int(size):,}" for size, times in sizes[:_MOST_SIZES])
    more = len(sizes) - _MOST_SIZES
    return text + (f" and {more} sizes more" if more > 0 else "")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side: numbers to the right."""
    if not rows:
        return ""
    lines = [titles, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
    numeric = [all(row[index][:1].isdigit() and "×" not in row[index] for row in rows)
               for index in range(len(titles))]  # fmt: skip
    texts = [
        "  ".join(
            f"{cell:>{width}}" if right else f"{cell:<{width}}"
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n" + "\n".join(texts) + "\n"
