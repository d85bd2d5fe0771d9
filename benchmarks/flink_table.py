"""Writes what `make flink-test` saw into the page on runners."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.marked_text import put_between

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "flink.json"
PAGE = ROOT / "docs" / "runners.md"

_BEGIN, _END = "<!-- flink: by benchmarks/flink_table.py -->\n", "<!-- /flink -->\n"

_COLUMNS = {
    "job": "job",
    "workers_started": "workers started",
    "processes_that_scored": "processes that scored",
    "model_loads": "model loads",
    "batches": "batches",
    "batches_of_several_slots": "of several slots",
    "seconds": "s in all",
}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The results as a Markdown table, and a line for each fault."""
    lines = [
        "| " + " | ".join(_COLUMNS.values()) + " |",
        "|---|" + "---:|" * (len(_COLUMNS) - 1),
    ]
    faults = []
    for job, seen in results.items():
        cells = [str(({"job": job} | dict(seen)).get(name, "")) for name in _COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
        if "seconds_from_kill_to_end" in seen:
            faults.append(
                f"* {job} when {seen['committed_before']} of {seen['of_splits']} splits were "
                f"committed: done {seen['seconds_from_kill_to_end']:.0f} s later, each of "
                f"{seen['rows']:,} rows once, and those splits as they were."
            )
    return "\n".join([*lines, "", *faults]) + "\n"


def main() -> None:
    """Puts the table between its marks in the page."""
    content = table(json.loads(RESULTS.read_text()))
    PAGE.write_text(put_between(PAGE.read_text(), _BEGIN, _END, content))


if __name__ == "__main__":
    main()
