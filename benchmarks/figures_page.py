"""Writes `docs/figures.md` from the results that the other scripts left.

python -m benchmarks.figures_page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.record_batches import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "figures.md"

_HEAD = """# Figures

Written by `python -m benchmarks.figures_page` from `benchmarks/results/`. Each figure is a ratio of
runs that took turns on one machine, every run in a process of its own; rates are medians.

## Record batches through `MirroredInference`, against the bare loop

`python -m benchmarks.record_batches`: the same in-memory rows, outputs copied to NumPy. The model
is loaded before the clock starts; the start of the pipeline is inside, which is why fewer rows fare
worse. The bare loop runs blocks as they come; the pipeline joins them to the size it finds best.
"""

_MEMORY = """
## Memory over ten times the rows

`python -m benchmarks.peak_memory`: {case}. {machine}.

| rows | peak MiB |
|---|---|
{rows}

Ten times the rows took {ratio} times the memory.
"""


def record_batches_table(results: list[dict[str, Any]]) -> str:
    """One row for each number of rows that was measured."""
    lines = [
        "",
        "| rows | bare rows/s | pipeline rows/s | ratio | ratio per CPU second | peak MiB, both |",
        "|---|---|---|---|---|---|",
    ]
    for found in results:
        bare, ours = found["contenders"]["bare"], found["contenders"]["mirrorbeam"]
        lines.append(
            f"| {found['rows']:,} | {bare['rows_per_second']:,} | {ours['rows_per_second']:,} "
            f"| {found['ratio_rows_per_second']} | {found['ratio_rows_per_cpu_second']} "
            f"| {bare['peak_mib']}, {ours['peak_mib']} |"
        )
    lines += [
        "",
        f"{results[0]['case']}, blocks of {results[0]['block_rows']:,} rows, "
        f"{results[0]['rounds']} rounds; {results[0]['machine']}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Reads what there is and writes the page."""
    names = sorted(RESULTS.glob("record_batches-*.json"), key=lambda path: len(path.name))
    tables = record_batches_table([json.loads(path.read_text()) for path in names])
    memory = json.loads((RESULTS / "peak_memory.json").read_text())
    rows = "\n".join(f"| {int(n):,} | {peak:,} |" for n, peak in memory["peak_mib"].items())
    PAGE.write_text(_HEAD + tables + _MEMORY.format(**memory | {"rows": rows}))


if __name__ == "__main__":
    main()
