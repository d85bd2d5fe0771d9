"""What `mirrorbeam tune` tells: tables for people, JSON for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.tune_candidates import Candidate, Findings
    from transforms.engine.agreement import Agreement


def describe_findings(findings: Findings, tolerance: float) -> str:
    """Every candidate's sizes, how far their outputs are from float32, and what to use."""
    several = len(findings.candidates) > 1
    lines: list[str] = []
    for candidate in findings.candidates:
        if several:
            lines += ["", f"{candidate.variant.name}{_verdict(candidate, findings)}"]
        lines += ["", *_sizes(candidate)] if candidate.sweep is not None else []
    if any(candidate.agreements for candidate in findings.candidates):
        lines += ["", *_differences(findings, tolerance)]
    return "\n".join([*lines, "", *_advice(findings), ""])


def findings_as_json(findings: Findings) -> dict[str, Any]:
    """All that was found, as plain values; sizes are rows of a batch over all devices."""
    best = findings.best
    return {
        "devices": list(findings.devices),
        "candidates": [_candidate_as_json(candidate) for candidate in findings.candidates],
        "best": {
            "name": best.variant.name,
            "flags": best.variant.flags,
            "batch_size": best.sweep.chosen if best.sweep else None,
            "rows_per_second": round(best.rows_per_second, 3),
        },
    }


def _candidate_as_json(candidate: Candidate) -> dict[str, Any]:
    sweep = candidate.sweep
    return {
        "name": candidate.variant.name,
        "precision": candidate.variant.precision,
        "xla": candidate.variant.xla,
        "flags": candidate.variant.flags,
        "refused": candidate.refusal,
        "saved": candidate.is_saved,
        "chosen": sweep.chosen if sweep else None,
        "too_large": sweep.too_large if sweep else None,
        "complete": sweep.is_complete if sweep else False,
        "sizes": [
            {
                "rows": size.rows,
                "rows_per_second": round(size.rows_per_second, 3),
                "peak_bytes": size.peak_bytes,
            }
            for size in (sweep.sizes if sweep else ())
        ],
        "differences": [_agreement_as_json(found) for found in candidate.agreements],
    }


def _agreement_as_json(found: Agreement) -> dict[str, Any]:
    # JSON has no infinity: an output that is finite in one of both only has no difference.
    return {
        "output": found.name,
        "rows": found.rows,
        "largest": found.largest if math.isfinite(found.largest) else None,
        "mean": found.mean if math.isfinite(found.mean) else None,
        "largest_magnitude": found.largest_magnitude,
        "mean_magnitude": found.mean_magnitude,
        "same_top_class": found.same_top_class,
        "unequal_rows": found.unequal,
    }


def _verdict(candidate: Candidate, findings: Findings) -> str:
    if candidate.refusal is not None:
        return f": refused, {candidate.refusal}"
    return ": best" if candidate is findings.best else ""


def _sizes(candidate: Candidate) -> list[str]:
    sweep = candidate.sweep
    assert sweep is not None
    rows = [["batch", "rows/s", "peak bytes", ""]]
    for size in sweep.sizes:
        peak = "unknown" if size.peak_bytes is None else f"{size.peak_bytes:,}"
        mark = "chosen" if size.rows == sweep.chosen else ""
        rows.append([f"{size.rows:,}", _figure(size.rows_per_second), peak, mark])
    if sweep.too_large is not None:
        rows.append([f"{sweep.too_large:,}", "", "too many", ""])
    note = [] if sweep.is_complete else ["the time was up before the search: not saved"]
    return _aligned(rows) + note


def _differences(findings: Findings, tolerance: float) -> list[str]:
    rows = [["output", "rows", "largest", "of at most", "mean", "of", "same top class"]]
    names = [""]
    for candidate in findings.candidates:
        for found in candidate.agreements:
            names.append(candidate.variant.name)
            rows.append(_difference(found))
    width = max(map(len, names))
    title = f"differences from float32; {tolerance:g} of an output's magnitude is allowed"
    table = [f"{name:<{width}}  {line}" for name, line in zip(names, _aligned(rows), strict=True)]
    return [title, "", *(line.rstrip() for line in table)]


def _difference(found: Agreement) -> list[str]:
    if found.unequal is not None:
        return [found.name, f"{found.rows:,}", f"{found.unequal:.2%} of rows", "", "", "", ""]
    top = "" if found.same_top_class is None else f"{found.same_top_class:.2%}"
    values = (found.largest, found.largest_magnitude, found.mean, found.mean_magnitude)
    return [found.name, f"{found.rows:,}", *(f"{value:.3g}" for value in values), top]


def _advice(findings: Findings) -> list[str]:
    own, best = findings.candidates[0], findings.best
    assert best.sweep is not None
    rows = best.sweep.chosen
    gain = ""
    if best is not own:
        ratio = best.rows_per_second / own.rows_per_second
        gain = f", {ratio:.2f} times the rate of {own.variant.name}"
    command = " ".join(filter(None, ["mirrorbeam score …", best.variant.flags]))
    if best.is_saved:
        use = f"{command}  (with the flags of this command; elsewhere add --batch_size {rows})"
    else:
        use = f"{command} --batch_size {rows}  (with the flags of this command)"
    notes = []
    if best.key is None:
        notes.append("rows have no fixed shape: with --batch_size auto, batches follow their bytes")
    return [f"best  {best.variant.name}, {rows:,} rows a batch{gain}", f"use   {use}", *notes]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, numbers to the right, the last and the first words to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
