from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.bad_input.cases import DEFECTS, Case
from tests.bad_input.matrix import MATRIX, documented, page_text
from tests.bad_input.observing import observed
from tests.bad_input.outcomes import Impossible, Outcome, Refused, Scored

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad_input.md"
CASES = [
    pytest.param(name, case, alone, id=f"{name}-{case.defect}-{case.holds}-{alone}"[:90])
    for name, cases in MATRIX.items()
    for case in cases
    if not isinstance(case.beside, Impossible)
    for alone in (False, True)
]


@pytest.mark.parametrize(("name", "case", "alone"), CASES)
def test_a_bad_file_has_the_outcome_that_is_declared(
    tmp_path: Path, name: str, case: Case, alone: bool
) -> None:
    declared = case.only if alone else case.beside
    seen = observed(name, case, tmp_path, alone=alone)
    assert _as_declared(seen, declared) == declared, seen


def _as_declared(seen: Outcome, declared: Outcome) -> Outcome:
    """What was seen, its messages cut down to the parts that are declared and occur in them."""
    if isinstance(seen, Refused) and isinstance(declared, Refused):
        return declared if declared.message in seen.message else seen
    if not isinstance(seen, Scored) or not isinstance(declared, Scored):
        return seen
    if len(seen.failed) != len(declared.failed):
        return seen
    failed = tuple(
        one._replace(message=other.message) if other.message in one.message else one
        for one, other in zip(seen.failed, declared.failed, strict=True)
    )
    return Scored(seen.rows, failed)


def test_every_format_has_every_defect() -> None:
    sources = importlib.import_module("pipelines.sources")
    assert set(MATRIX) == set(sources.SOURCE_NAMES)
    for cases in MATRIX.values():
        assert list(dict.fromkeys(case.defect for case in cases)) == list(DEFECTS)


def test_the_page_says_what_is_tested() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert documented(text) == text, "run python -m tests.bad_input.matrix"
    assert page_text().count("\n|") > len(CASES) / 2
