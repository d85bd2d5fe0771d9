"""Writes what `make soak` saw into the page on guarantees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.marked_text import put_between

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "soak.json"
PAGE = ROOT / "docs" / "guarantees.md"

_BEGIN, _END = "<!-- soak: by benchmarks/soak_table.py -->\n", "<!-- /soak -->\n"

_RUNNERS = {"local": "FnApiRunner", "flink": "Flink cluster"}
# By line of the table: the sum that it shows.
_LINES = {
    "jobs": "jobs",
    "splits": "splits",
    "rows": "rows",
    "bad rows among them": "bad rows",
    "commands killed, with all they started": "machine killed",
    "commands killed alone; their workers end by themselves": "driver killed",
    "commands killed and not given again": "driver for good killed",
    "of these, done by themselves": "done without its command",
    "worker processes killed": "worker killed",
    "of these, after which the command ended by itself": "ended after its worker",
    "of these, after which it waited and was killed": "waited for its worker",
    "task managers killed": "task manager killed",
    "kills when some splits were committed and some not": "killed midway",
    "commands that failed beside another on the same folder": "failed beside another",
    "jobs short of memory": "starved jobs",
    "allocations refused": "out of memory",
    "jobs that hung or ended otherwise than they should": "went wrong",
    "rows lost": "rows lost",
    "rows doubled": "rows doubled",
}
# Kills that a runner has no place for.
_ABSENT = {
    "local": {"driver for good killed", "done without its command", "task manager killed",
              "failed beside another"},
    "flink": {"driver killed", "ended after its worker", "waited for its worker"},
}  # fmt: skip


def table(results: Mapping[str, Any]) -> str:
    """The results as two Markdown tables: sums by runner, and what processes held."""
    runners, machine = results["runners"], results["machine"]
    lines = [
        f"| {results['seconds'] / 60:.0f} minutes | "
        + " | ".join(_RUNNERS[name] for name in runners) + " |",
        "|---|" + "---:|" * len(runners),
    ]  # fmt: skip
    lines += [
        f"| {line} | " + " | ".join(_cell(name, runners[name], counted) for name in runners) + " |"
        for line, counted in _LINES.items()
        if any(counted not in _ABSENT[name] for name in runners)
    ]
    lines += [
        "",
        "| process that lives on | jobs | memory, MiB: settled, last | threads | open files |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in runners:
        for process, held in runners[name]["held"].items():
            pairs = " | ".join(
                f"{held[f'{kind}_first']:,g}, {held[f'{kind}_last']:,g}"
                for kind in ("mib", "threads", "files"))
            lines.append(f"| {_RUNNERS[name]}: {process} | {held['jobs']} | {pairs} |")
    lines += [
        "",
        f"On {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"without a GPU; {results['seconds']:,.0f} s in all, seed {results['seed']}.",
    ]
    return "\n".join(lines) + "\n"


def _cell(runner: str, soaked: Mapping[str, Any], counted: str) -> str:
    if counted in _ABSENT[runner]:
        return "–"
    return f"{soaked['trials'].get(counted, 0):,}"


def main() -> None:
    """Puts the table between its marks in the page."""
    content = table(json.loads(RESULTS.read_text()))
    PAGE.write_text(put_between(PAGE.read_text(), _BEGIN, _END, content))


if __name__ == "__main__":
    main()
