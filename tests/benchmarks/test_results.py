from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cases import MODULES, Case, Target, find_case
from benchmarks.measured import Meter, Seen
from benchmarks.page import case_table, target_rows
from benchmarks.plots import plot_rates
from benchmarks.results import bound_rate, is_met, ratio, ratio_range, spread, summarise


def runs(rows: int, *wall_seconds: float, peak_mib: float = 100.0) -> list[dict[str, float]]:
    return [
        {
            "rows": rows,
            "wall_seconds": wall,
            "cpu_seconds": 2 * wall,
            "peak_mib": peak_mib,
            "start_seconds": 3.0,
        }
        for wall in wall_seconds
    ]


@pytest.fixture
def contenders() -> dict[str, Any]:
    return {
        "bare": summarise(runs(1000, 1.0, 2.0, 4.0)),
        "read": summarise(runs(1000, 1.0, 1.0, 1.0)),
        "mirrorbeam": summarise(runs(1000, 2.0, 4.0, 5.0, peak_mib=150)),
        "slow": summarise(runs(10, 1.0, 2.0)),
        "slower": summarise(runs(10, 10.0, peak_mib=90)),
    }


def test_rates_are_medians_with_their_range(contenders: dict[str, Any]) -> None:
    bare = contenders["bare"]
    assert bare["rows_per_second"] == 500
    assert bare["rows_per_second_range"] == [250, 1000]
    assert bare["rows_per_cpu_second"] == 250
    assert bare["cpu_seconds_per_1000_rows"] == 4
    assert spread(bare) == 1.5


def test_rates_of_different_rows_are_compared(contenders: dict[str, Any]) -> None:
    assert ratio(contenders, "mirrorbeam", "bare", "rows_per_second") == 0.5
    assert ratio(contenders, "slow", "bare", "rows_per_second") == pytest.approx(0.015)
    assert ratio(contenders, "mirrorbeam", "absent", "rows_per_second") is None


def test_the_bound_is_reading_and_then_scoring(contenders: dict[str, Any]) -> None:
    assert bound_rate(contenders["read"], contenders["bare"]) == pytest.approx(1000 / 3)
    got = ratio(contenders, "mirrorbeam", "bound", "rows_per_second")
    assert got == pytest.approx(250 / (1000 / 3))
    del contenders["read"]
    assert ratio(contenders, "mirrorbeam", "bound", "rows_per_second") is None


def test_the_best_peer_is_neither_the_ceiling_nor_a_part(contenders: dict[str, Any]) -> None:
    assert ratio(contenders, "mirrorbeam", "peers", "rows_per_second") == pytest.approx(
        250 / contenders["slow"]["rows_per_second"]
    )
    assert ratio(contenders, "mirrorbeam", "peers", "peak_mib") == pytest.approx(150 / 90)


def test_the_range_is_of_ratios_in_the_same_round(contenders: dict[str, Any]) -> None:
    assert ratio_range(contenders, "mirrorbeam", "bare") == (0.5, 0.8)
    assert ratio_range(contenders, "mirrorbeam", "absent") is None


@pytest.mark.parametrize(
    ("measure", "got", "met"),
    [
        ("rows_per_second", 1.0, True),
        ("rows_per_second", 0.9, False),
        ("peak_mib", 0.9, True),
        ("wall_seconds", 1.1, False),
    ],
)
def test_less_is_better_for_memory_and_time(measure: str, got: float, met: bool) -> None:
    assert is_met(measure, 1.0, got) is met


def test_targets_that_are_missed_or_not_measured_say_so(contenders: dict[str, Any]) -> None:
    case = Case(
        letter="x",
        name="x",
        sentence="x",
        clock="x",
        prepare=lambda folder, rows: None,
        check=lambda job: None,
        entries={},
        targets=(
            Target("mirrorbeam", "bare", "rows_per_second", 0.9),
            Target("mirrorbeam", "peers", "rows_per_second", 1),
            Target("mirrorbeam", "tfx_bsl", "rows_per_second", 6),
        ),
    )
    missed, met, unknown = target_rows(case, {"contenders": contenders})
    assert missed == "| x | mirrorbeam by bare, rows/s | ≥ 0.9 | 0.5 | 0.5 to 0.8 | **no** |"
    assert met.endswith("| yes |")
    assert "not measured" in unknown


def test_the_table_has_a_line_for_each_contender(contenders: dict[str, Any]) -> None:
    lines = case_table(contenders)
    assert len(lines) == 2 + len(contenders)
    assert lines[2] == "| bare | 1,000 | 500 | ±75% | 4 | 1 | 1 | 100 |"
    assert "one run" in lines[-1]
    assert len({line.count("|") for line in lines}) == 1


def test_a_plot_is_small_and_the_same_again(contenders: dict[str, Any], tmp_path: Path) -> None:
    for name in ("first", "second"):
        plot_rates(contenders, tmp_path / f"{name}.svg")
    first = (tmp_path / "first.svg").read_bytes()
    assert len(first) < 100_000
    assert first == (tmp_path / "second.svg").read_bytes()


def test_seen_rows_are_compared_with_the_bare_models() -> None:
    seen = Seen()
    seen.block(np.array([[1.0, 9.0], [2.0, 9.0]], np.float32))
    seen.row(np.array([4.0, 9.0], np.float32))
    seen.check(3, 7.0)
    with pytest.raises(ValueError, match="expected 4 rows"):
        seen.check(4, 7.0)
    with pytest.raises(ValueError, match="add up to"):
        seen.check(3, 7.1)


def test_the_clock_covers_what_runs_inside() -> None:
    meter = Meter(tree=False)
    with meter.clock():
        total = sum(range(2_000_000))
    figures = meter.figures()
    assert total > 0
    assert 0 < figures["cpu_seconds"] < 2 * figures["wall_seconds"] + 0.05
    assert figures["peak_mib"] > 1


@pytest.mark.parametrize("letter", sorted(MODULES))
def test_every_case_is_whole(letter: str) -> None:
    case = find_case(letter)
    assert case.letter == letter
    assert case.name == MODULES[letter]
    assert {"bare", "mirrorbeam"} <= set(case.entries)
    for target in case.targets:
        assert target.contender in case.entries
        assert target.against in {*case.entries, "bound", "peers"}
    for entry in case.entries.values():
        assert 0 < entry.small <= entry.full
