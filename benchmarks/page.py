"""Writes `docs/benchmarks.md` and its plots from the figures in `benchmarks/results/`.

python -m benchmarks.page
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import MODULES, Case, Target, find_case
from benchmarks.plots import plot_rates
from benchmarks.results import LESS_IS_BETTER, is_met, ratio, ratio_range, spread
from benchmarks.run import RESULTS, ROOT, suffix

PAGE = ROOT / "docs" / "benchmarks.md"

_HEAD = """# Benchmarks

Written by `python -m benchmarks.page` from `benchmarks/results/`. `make bench` measures anew in
minutes, `make bench-gpu` on GPUs, and `make bench SCALE=full ROUNDS=5` with more rows.

* Every run is a process of its own; contenders take turns, several rounds. Rates and memory are
  medians of the rounds, and slow contenders get fewer rows: rates are compared.
* Every run is checked: each row scored once, its scores equal to the bare model's, in the files
  that were written or, where there are none, in what came out.
* `bare` is the ceiling: the model in a loop over arrays in memory, outputs copied to NumPy, at the
  best batch size of a sweep. `read` is this project's reader without a model. Where both are
  there, the *bound* is 1 / (1/read + 1/bare): reading and scoring one after the other.
* All contenders have TensorFlow's own thread settings, and Beam's pipelines run on its in-process
  runner. Peak memory is that of the whole process, with everything that it has imported.
* `runinference` is Beam's `TFModelHandlerNumpy` as shipped; `runinference_tuned` has a traced
  call with one copy to NumPy a batch of a fixed size, and Beam's own readers and writers. `tfx_bsl`
  is tfx-bsl's RunInference: it takes serialized tf.Examples only, and of Keras 3 models only those
  that were exported by `ExportArchive`.
"""

_MEMORY = """
## Memory over ten times the rows

`python -m benchmarks.peak_memory`: {case}. {machine}.

| rows | peak MiB |
|---|---|
{rows}

Ten times the rows took {ratio} times the memory.
"""

_MEASURES = {
    "rows_per_second": "rows/s",
    "rows_per_cpu_second": "rows per CPU second",
    "wall_seconds": "seconds",
    "peak_mib": "peak memory",
}


def target_rows(case: Case, found: Mapping[str, Any]) -> list[str]:
    """One line of the table of targets for each of a case's."""
    return [_target_row(case.letter, target, found["contenders"]) for target in case.targets]


def _target_row(letter: str, target: Target, contenders: Mapping[str, Any]) -> str:
    bound = "≤" if target.measure in LESS_IS_BETTER else "≥"
    got = ratio(contenders, target.contender, target.against, target.measure)
    cells = [
        letter,
        f"{target.contender} by {_against(target)}, {_MEASURES[target.measure]}",
        f"{bound} {target.ratio:g}",
    ]
    if got is None:
        return f"| {' | '.join(cells)} | not measured | | |"
    rounds = None
    if target.measure == "rows_per_second":
        rounds = ratio_range(contenders, target.contender, target.against)
    met = "yes" if is_met(target.measure, target.ratio, got) else "**no**"
    between = f"{_ratio(rounds[0])} to {_ratio(rounds[1])}" if rounds else ""
    return f"| {' | '.join(cells)} | {_ratio(got)} | {between} | {met} |"


def _against(target: Target) -> str:
    if target.against == "bound":
        return "the bound"
    if target.against != "peers":
        return target.against
    return "the leanest peer" if target.measure in LESS_IS_BETTER else "the fastest peer"


def case_table(contenders: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Figures of every contender of a case, as Markdown lines."""
    lines = [
        "| contender | rows | rows/s | range | CPU s per 1,000 rows | rows/s, by bare "
        "| rows per CPU s, by bare | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in contenders.items():
        ratios = [
            ratio(contenders, name, "bare", measure)
            for measure in ("rows_per_second", "rows_per_cpu_second")
        ]
        cells = [
            f"{found['rows']:,.0f}",
            _rate(found["rows_per_second"]),
            f"±{spread(found) / 2:.0%}" if len(found["runs"]) > 1 else "one run",
            f"{found['cpu_seconds_per_1000_rows']:.3g}",
            *("" if value is None else _ratio(value) for value in ratios),
            f"{found['peak_mib']:,.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine_text(machine: Mapping[str, Any]) -> str:
    """A sentence about what figures were taken on."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    gpus = f"{', '.join(machine['gpus'])}; " if machine["gpus"] else ""
    return (
        f"{gpus}{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB. "
        f"Python {machine['python']}, {versions}."
    )


def page(results: Path, plots: Path) -> str:
    """The whole page, with its plots written beside it.

    Args:
      results: folder of figures.
      plots: folder for the plots, beside the page.
    """
    notes_file = results / "notes.json"
    notes = json.loads(notes_file.read_text()) if notes_file.exists() else {}
    parts = [_HEAD]
    for gpu in (False, True):
        cases = list(_measured(results, gpu))
        if cases:
            parts += _section(cases, notes, plots, gpu)
    memory_file = results / "peak_memory.json"
    if memory_file.exists():
        memory = json.loads(memory_file.read_text())
        rows = "\n".join(f"| {int(n):,} | {peak:,} |" for n, peak in memory["peak_mib"].items())
        parts.append(_MEMORY.format(**memory | {"rows": rows}))
    return "\n".join(parts)


def _measured(results: Path, gpu: bool) -> Sequence[tuple[Case, dict[str, Any]]]:
    files = [(letter, results / f"bench-{letter}{suffix(gpu)}.json") for letter in sorted(MODULES)]
    return [
        (find_case(letter), json.loads(file.read_text())) for letter, file in files if file.exists()
    ]


def _section(
    cases: Sequence[tuple[Case, dict[str, Any]]],
    notes: Mapping[str, str],
    plots: Path,
    gpu: bool,
) -> list[str]:
    where = "On GPUs" if gpu else "On a CPU"
    lines = [
        f"## {where}: targets",
        "",
        "A ratio of medians, and the range of the ratios of single rounds.",
        "",
        "| case | ratio | target | got | in rounds | met |",
        "|---|---|---|---|---|---|",
    ]
    for case, found in cases:
        lines += target_rows(case, found)
    for case, found in cases:
        name = f"{case.letter}{suffix(gpu)}"
        plot_rates(found["contenders"], plots / f"{name}.svg")
        lines += [
            "",
            f"## {where}: case {case.letter}",
            "",
            f"{case.sentence[0].upper()}{case.sentence[1:]}.",
            "",
            f"Inside the clock: {case.clock}.",
            "",
            *case_table(found["contenders"]),
            "",
            f"![Rates of case {case.letter}]({plots.name}/{name}.svg)",
            "",
            _footnote(found),
        ]
        lines += [f"\n{who} did not end: {why}" for who, why in found["failed"].items()]
        lines += [f"\n{notes[name]}"] if name in notes else []
    lines += ["", f"## {where}: machine", ""]
    lines += dict.fromkeys(machine_text(found["machine"]) for _, found in cases)
    loads = ", ".join(f"{case.letter} {found['machine']['load_average']}" for case, found in cases)
    return [*lines, "", f"Load average at the end of each case: {loads}."]


def _footnote(found: Mapping[str, Any]) -> str:
    batch = found["bare_batch_rows"]
    steps = f"`bare` in steps of {batch:,} rows. " if batch else ""
    return f"{steps}{found['rounds']} rounds at the scale `{found['scale']}`."


def main() -> None:
    """Writes the page and its plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    text = page(arguments.results, arguments.page.with_suffix(""))
    arguments.page.write_text(text.rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
