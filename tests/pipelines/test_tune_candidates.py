"""Which variants are tried, and which is best."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from pipelines.options import ModelFlags
from pipelines.tune import reference_of, variants_of
from pipelines.tune_candidates import Candidate, Findings, Variant
from pipelines.tune_options import TuneOptions
from pipelines.tune_plot import figure
from pipelines.tune_summary import describe_findings, findings_as_json
from transforms.engine.agreement import Agreement
from transforms.engine.sweep import MeasuredSize, Sweep

AS_SAVED = Variant()


def options(**values: Any) -> TuneOptions:
    return TuneOptions(
        input=("in",), model=ModelFlags("m"), format_flags=argparse.Namespace(), **values
    )


def candidate(rate: float, variant: Variant = AS_SAVED, **values: Any) -> Candidate:
    sizes = (MeasuredSize(64, rate / 2, 1000), MeasuredSize(128, rate, None))
    return Candidate(variant, Sweep(sizes, chosen=128, **values.pop("sweep", {})), **values)


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        ({}, [""]),
        ({"precision": "mixed_float16", "xla": True}, ["--precision mixed_float16 --xla"]),
        ({"try_xla": True}, ["", "--xla"]),
        ({"try_xla": True, "xla": True}, ["--xla"]),
        (
            {"try_precision": ("mixed_bfloat16", "float32"), "try_xla": True},
            [
                "", "--xla", "--precision mixed_bfloat16", "--precision mixed_bfloat16 --xla",
                "--precision float32", "--precision float32 --xla",
            ],
        ),
        (
            {"precision": "float32", "try_precision": ("float32", "mixed_float16")},
            ["--precision float32", "--precision mixed_float16"],
        ),
    ],
)  # fmt: skip
def test_own_settings_come_first_and_each_variant_once(asked: dict[str, Any], flags: list[str]):
    assert [variant.flags for variant in variants_of(options(**asked))] == flags


@pytest.mark.parametrize(
    ("asked", "reference"),
    [
        ({}, None),
        ({"precision": "mixed_float16"}, None),
        ({"try_xla": True}, Variant()),
        ({"try_precision": ("mixed_float16",)}, Variant("float32")),
        ({"precision": "mixed_float16", "try_xla": True}, Variant("float32")),
    ],
)
def test_the_reference_is_float32_where_precisions_are_tried(
    asked: dict[str, Any], reference: Variant | None
):
    assert reference_of(variants_of(options(**asked))) == reference


def test_the_fastest_accepted_candidate_is_best_where_the_gain_is_real():
    own = candidate(100.0)
    slower = candidate(90.0, Variant(xla=True))
    a_little_faster = candidate(101.0, Variant("mixed_bfloat16"))
    faster = candidate(150.0, Variant("mixed_bfloat16", xla=True))
    refused = candidate(200.0, Variant("mixed_float16"), refusal="y differs")
    broken = Candidate(Variant("mixed_float16", xla=True), None, refusal="cannot run: E: x")
    assert Findings((own, slower, a_little_faster), ()).best is own
    assert Findings((own, a_little_faster, faster, refused, broken), ()).best is faster


def test_only_what_may_be_used_and_was_searched_to_the_end_is_saved():
    assert candidate(1.0, key="k").is_saved
    assert not candidate(1.0).is_saved
    assert not candidate(1.0, key="k", refusal="y differs").is_saved
    assert not candidate(1.0, key="k", sweep={"is_complete": False}).is_saved
    assert not Candidate(Variant(), None, key="k").is_saved


def test_the_tables_of_several_candidates():
    scores = Agreement("scores", 500, 0.25, 0.125, 4.0, 2.0, same_top_class=0.998)
    words = Agreement("words", 500, unequal=0.5)
    findings = Findings(
        (
            candidate(1000.0, key="a"),
            candidate(2500.0, Variant("mixed_bfloat16"), key="b", agreements=(scores,)),
            candidate(
                9000.0,
                Variant("mixed_float16"),
                agreements=(words,),
                refusal="words differs in 50.0% of the rows",
                sweep={"too_large": 256},
            ),
        ),
        ("CPU:0",),
    )
    told = describe_findings(findings, 0.02).splitlines()
    assert told[told.index("mixed_bfloat16: best") + 2 :][:3] == [
        "batch  rows/s  peak bytes",
        "   64   1,250       1,000",
        "  128   2,500     unknown  chosen",
    ]
    assert "mixed_float16: refused, words differs in 50.0% of the rows" in told
    assert "  256            too many" in told
    assert "differences from float32; 0.02 of an output's magnitude is allowed" in told
    [compared] = [line.split() for line in told if " scores " in line]
    assert compared == ["mixed_bfloat16", "scores", "500", "0.25", "4", "0.125", "2", "99.80%"]
    assert "best  mixed_bfloat16, 128 rows a batch, 2.50 times the rate of as saved" in told
    assert told[-1].startswith("use   mirrorbeam score … --precision mixed_bfloat16  (")
    facts = findings_as_json(findings)
    assert facts["best"] == {
        "name": "mixed_bfloat16",
        "flags": "--precision mixed_bfloat16",
        "batch_size": 128,
        "rows_per_second": 2500.0,
    }
    assert [found["saved"] for found in facts["candidates"]] == [True, True, False]


def test_the_plot_has_a_line_for_each_candidate_and_marks_its_choice():
    findings = Findings((candidate(1.0), candidate(2.0, Variant(xla=True), refusal="r")), ())
    rates, peaks = figure(findings, "model").axes
    assert rates.get_title() == "model"
    assert (peaks.get_xscale(), rates.get_xscale()) == ("log", "log")
    lines = [list(zip(*line.get_data(), strict=True)) for line in rates.get_lines()]
    assert lines == [[(64, 0.5), (128, 1.0)], [(128, 1.0)], [(64, 1.0), (128, 2.0)], [(128, 2.0)]]
    assert [line.get_data()[1] for line in peaks.get_lines()] == [(1000,), (1000,)]
    assert [text.get_text() for text in rates.get_legend().get_texts()] == [
        "as saved",
        "as saved, XLA (refused)",
    ]


def test_without_peaks_the_plot_has_no_memory():
    sizes = (MeasuredSize(1, 5.0), MeasuredSize(2, 6.0))
    findings = Findings((Candidate(Variant(), Sweep(sizes, chosen=2)),), ())
    assert len(figure(findings, "model").axes) == 1
