"""Writes what `make soak` saw into the page on guarantees."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.marked_text import put_between

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "soak.json"
PAGE = ROOT / "docs" / "guarantees.md"

_BEGIN, _END = "<!-- soak: by benchmarks/soak_table.py -->\n", "<!-- /soak -->\n"


def table(results: Mapping[str, Any]) -> str:
    """The results as a Markdown table."""
    trials, process, machine = results["trials"], results["one_process"], results["machine"]
    rows = {
        f"jobs in {results['seconds'] / 60:.0f} minutes": trials["jobs"],
        "commands killed": trials["drivers_killed"],
        "worker processes killed": trials["workers_killed"],
        "of these kills, when some splits were committed and some not": trials["killed_midway"],
        "jobs short of memory": trials["starved_jobs"],
        "allocations refused": trials["out_of_memory"],
        "rows": trials["rows"],
        "bad rows among them": trials["bad_rows"],
        "rows lost": trials["rows_lost"],
        "rows doubled": trials["rows_doubled"],
    }
    lines = ["| | |", "|---|---:|", *(f"| {name} | {value:,} |" for name, value in rows.items())]
    lines += [
        "",
        f"| one process, {process['jobs']} jobs one by one | settled | last |",
        "|---|---:|---:|",
        f"| resident memory, MiB | {process['mib_first']} | {process['mib_last']} |",
        f"| threads | {process['threads_first']:g} | {process['threads_last']:g} |",
        f"| open files | {process['files_first']:g} | {process['files_last']:g} |",
        "",
        f"On {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"without a GPU; seed {results['seed']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Puts the table between its marks in the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    flags = parser.parse_args()
    content = table(json.loads(flags.results.read_text()))
    flags.page.write_text(put_between(flags.page.read_text(), _BEGIN, _END, content))


if __name__ == "__main__":
    main()
