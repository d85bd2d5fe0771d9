"""All cases by format, and the tables of docs/bad_input.md that are made from them.

`python -m tests.bad_input.matrix` writes the tables into the page.
"""

from __future__ import annotations

import collections
from pathlib import Path

from benchmarks.marked_text import put_between
from tests.bad_input import (
    csv_cases,
    images_cases,
    jsonl_cases,
    parquet_cases,
    tfrecord_cases,
)
from tests.bad_input.cases import DEFECTS, Case
from tests.bad_input.outcomes import Impossible, Outcome, PassedOver, Refused, Scored, Stopped

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad_input.md"

MATRIX: dict[str, tuple[Case, ...]] = {
    name: tuple(sorted(module.CASES, key=lambda case: DEFECTS.index(case.defect)))
    for name, module in {
        "tfrecord": tfrecord_cases,
        "parquet": parquet_cases,
        "images": images_cases,
        "csv": csv_cases,
        "jsonl": jsonl_cases,
    }.items()
}

_START, _END = "<!-- cases -->\n", "<!-- end of cases -->\n"


def page_text() -> str:
    """The tables, one a format."""
    tables = []
    for name, cases in MATRIX.items():
        lines = [
            f"### {name}\n",
            "| defect | the file | between sound files | alone |",
            "|---|---|---|---|",
            *map(_line, cases),
        ]
        tables.append("\n".join(lines))
    return "\n\n".join([_counts(), *tables])


def count_tried() -> tuple[int, int]:
    """How many bad files there are, and jobs with them."""
    files = sum(len(_real(cases)) for cases in MATRIX.values())
    return files, 2 * files


def _real(cases: tuple[Case, ...]) -> list[Case]:
    return [case for case in cases if not isinstance(case.beside, Impossible)]


def _counts() -> str:
    """How many cases there are of each format, and how they end."""
    lines = [
        "| format | bad files | tried | done, rows failed | done, none failed | exit 2 | exit 1 |",
        "|---|---|---|---|---|---|---|",
    ]
    totals = collections.Counter[str]()
    for name, cases in MATRIX.items():
        real = _real(cases)
        ends = collections.Counter(
            _end(outcome) for case in real for outcome in (case.beside, case.only)
        )
        ends.update(files=len(real), tried=2 * len(real))
        totals.update(ends)
        lines.append(_count_line(name, ends))
    return "\n".join([*lines, _count_line("all", totals)])


_ENDS = ("files", "tried", "failed", "scored", "refused", "stopped")


def _count_line(name: str, ends: collections.Counter[str]) -> str:
    return f"| {name} | {' | '.join(str(ends[end]) for end in _ENDS)} |"


def _end(outcome: Outcome) -> str:
    if isinstance(outcome, Scored):
        return "failed" if outcome.failed else "scored"
    return {Refused: "refused", Stopped: "stopped", PassedOver: "scored"}[type(outcome)]


def documented(page: str) -> str:
    """The page with its tables made anew."""
    return put_between(page, _START, _END, f"\n{page_text()}\n\n")


def _line(case: Case) -> str:
    if isinstance(case.beside, Impossible):
        return f"| {case.defect} | {case.beside.reason} | – | – |"
    only = "the same" if case.alone is None else str(case.alone)
    cells = (case.defect, case.holds, str(case.beside), only)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(documented(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
