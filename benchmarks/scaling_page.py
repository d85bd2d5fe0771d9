"""Writes `docs/scaling.md`: what `benchmarks.scaling` measured, and what follows for large jobs.

python -m benchmarks.scaling_page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.scaling import RESULTS
from benchmarks.scaling_inputs import SPLIT_BYTES
from pipelines.sources.images import MAX_FILES_PER_SPLIT

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
ROWS = 10**9
HOSTS = (1, 8, 64)
# Reading threads of a host of the kind that was measured.
_THREADS = 2

_HEAD = """# Scaling

Written by `python -m benchmarks.scaling_page` from `benchmarks/results/scaling.json`, which
`python -m benchmarks.scaling` measured on {machine}.

## Planning {splits:,} splits

What the driver does before a runner gets the job. Files are tiny, or sparse files that look large,
on a disk in memory; the plan is written to `plan.json`. Memory is what the step adds to a process
that has imported Beam.

| input | files | splits | match s | plan s | mark s | write s | all s | MiB | plan MB | graph KB |
|---|---|---|---|---|---|---|---|---|---|---|
{planning}

The pipeline's graph does not grow with the job: one worker reads the splits from `plan.json`. Of
more than 1,000 Parquet files only the first, and those larger than a split, are opened; the number
of rows is then not known beforehand.

## Finishing {splits:,} splits

The last transform compares every commit record with its files and writes the report. On a local
disk it reads every part again: {finish[seconds]} s, {finish[memory_mib]} MiB; `--overwrite` deletes
them in {clear[seconds]} s. On an object store it lists the files and reads the records, 64 at once:
with {wait_ms:.0f} ms a request {remote_splits:,} splits took {remote[seconds]} s, which is
{remote_finish:.0f} s for {splits:,}.

## A job's costs

| cost | measured |
|---|---|
{costs}

## A billion rows

A *host* is the machine of the measurements, without a GPU. Assumed: hosts share the work evenly,
the network gives and takes rows as fast as a local disk, and each request to the object store
takes {wait_ms:.0f} ms, {commit_requests:.0f} of them one after the other for each commit, in
{threads} threads a host. None of it ran on more than one host. Seconds of the job = start + plan
+ (rows × row + splits × (split + commit's requests / threads)) / hosts + finish.

{tables}

## The next limit

{limits}
"""


class Case(NamedTuple):
    """A job of a billion rows."""

    name: str
    row_seconds: float
    splits: int
    plan_seconds: float


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:,.0f} s"
    return f"{value / 60:,.0f} min" if value < 7200 else f"{value / 3600:,.1f} h"


def _planning(steps: dict[str, Any]) -> str:
    lines = []
    for name, found in steps.items():
        kind, _, what = name.partition(":")
        if kind == "plan":
            times = " | ".join(
                str(found[part]["seconds"])
                for part in ("match", "plan", "fingerprint", "write", "all")
            )
            lines.append(
                f"| {what.replace('_', ' ')} | {found['files']:,} | {found['splits']:,} | {times} "
                f"| {found['all']['memory_mib']} | {found['plan_bytes'] / 1e6:.1f} "
                f"| {found['graph_bytes'] / 1e3:.1f} |"
            )
    return "\n".join(lines)


def _table(case: Case, steps: dict[str, Any]) -> str:
    commit = sum(steps["remote"]["requests_a_commit"].values()) * steps["remote"]["wait_seconds"]
    a_split = steps["splits"]["seconds_a_split"] + commit / _THREADS
    finish = case.splits * steps["remote"]["finish"]["seconds"] / steps["remote"]["splits"]
    lines = [
        f"### {case.name}",
        "",
        f"{case.splits:,} splits.",
        "",
        "| hosts | start | plan | rows | splits and commits | finish | all | speed-up |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = 0.0
    for hosts in HOSTS:
        parts = [
            steps["start"]["seconds"],
            case.plan_seconds,
            ROWS * case.row_seconds / hosts,
            case.splits * a_split / hosts,
            finish,
        ]
        first = first or sum(parts)
        cells = " | ".join(map(_seconds, [*parts, sum(parts)]))
        lines.append(f"| {hosts} | {cells} | {first / sum(parts):.1f} |")
    return "\n".join(lines)


def _limits(cases: list[Case], steps: dict[str, Any]) -> str:
    network = cases[0]
    listed, remote = steps["plan:image_files"], steps["remote"]
    names_gib = listed["all"]["memory_mib"] / listed["files"] * ROWS / 1024
    serial = network.plan_seconds + steps["start"]["seconds"]
    serial += network.splits * remote["finish"]["seconds"] / remote["splits"]
    requests = network.splits * sum(remote["requests_a_commit"].values())
    commits = requests * remote["wait_seconds"] / _THREADS
    all_rows = ROWS * network.row_seconds
    rate = requests * HOSTS[-1] / (all_rows + commits)
    return "\n".join(
        [
            "* **The driver's list of files, where a file is a row.** Names, sizes and plan take "
            f"{listed['all']['memory_mib']:,} MiB",
            f"  for {listed['files']:,} files; a billion would take about {names_gib:,.0f} GiB. "
            "Score some ten million images a job,",
            "  or pack them into TFRecords or Parquet. The table of images supposes jobs whose "
            "plans fit.",
            "* **Waiting for commits.** On one host the network's job waits "
            f"{_seconds(commits)} for the object store beside",
            f"  {_seconds(all_rows)} of work. More reading threads or larger `--split_bytes` make "
            "it less.",
            f"* **What one worker does.** Start, plan and finish of the network's job take "
            f"{_seconds(serial)}: as long as its rows",
            f"  on {all_rows / serial:,.0f} hosts. The finish grows with splits, not with rows.",
            f"* **Requests.** {HOSTS[-1]} hosts on the network's job ask the store {rate:,.0f} "
            "times a second to commit, under one folder.",
            "  Stores limit that to some thousands a second; so hosts ten times as fast, or as "
            "many, need larger splits.",
        ]
    )


def main() -> None:
    """Reads the figures and writes the page."""
    found = json.loads((RESULTS / "scaling.json").read_text())
    steps = found["steps"]
    row, image, remote = steps["rows"], steps["images"], steps["remote"]
    names = steps["plan:image_files"]
    splits = int(ROWS * row["input_bytes_a_row"] / SPLIT_BYTES)
    cases = [
        Case(
            "Parquet to Parquet, network of 32, 64 and 10 units",
            row["seconds_a_row"],
            splits,
            steps["plan:parquet_files"]["all"]["seconds"] * splits / found["splits"],
        ),
        Case(
            "JPEG files of 256 by 256 pixels, MobileNetV2",
            image["seconds_a_row"],
            ROWS // MAX_FILES_PER_SPLIT,
            names["all"]["seconds"] * ROWS / names["files"],
        ),
    ]
    start, tiny = steps["start"], steps["splits"]
    costs = {
        "row, network": f"{row['seconds_a_row'] * 1e6:.2f} µs, "
        f"{row['cpu_seconds_a_row'] * 1e6:.2f} µs of CPU, {row['input_bytes_a_row']:.0f} bytes in "
        f"and {row['output_bytes_a_row']:.0f} out",
        "row, image": f"{image['seconds_a_row'] * 1e3:.1f} ms, "
        f"{image['cpu_seconds_a_row'] * 1e3:.1f} ms of CPU, {image['input_bytes_a_row']:,.0f} "
        "bytes in",
        "split, beside its rows": f"{tiny['seconds_a_split'] * 1e3:.1f} ms, "
        f"{tiny['cpu_seconds_a_split'] * 1e3:.1f} ms of CPU: planned, opened, committed, finished",
        "commit on an object store": ", ".join(
            f"{times:g} × {kind}" for kind, times in sorted(remote["requests_a_commit"].items())
        ),
        "finish on an object store": f"{remote['requests_a_split_at_the_finish']} requests a split",
        "start": f"a job of 100 rows takes {start['seconds']} s, {start['ratio']} times what "
        f"importing TensorFlow and Beam, loading the model and one step take "
        f"({start['floor_seconds']} s)",
    }
    PAGE.write_text(
        _HEAD.format(
            machine=found["machine"],
            splits=found["splits"],
            planning=_planning(steps),
            finish=steps["finish"]["finish"],
            clear=steps["finish"]["clear"],
            remote=remote["finish"],
            remote_splits=remote["splits"],
            remote_finish=remote["finish"]["seconds"] / remote["splits"] * found["splits"],
            wait_ms=remote["wait_seconds"] * 1e3,
            commit_requests=sum(remote["requests_a_commit"].values()),
            threads=_THREADS,
            costs="\n".join(f"| {name} | {text} |" for name, text in costs.items()),
            tables="\n\n".join(_table(case, steps) for case in cases),
            limits=_limits(cases, steps),
        )
    )


if __name__ == "__main__":
    main()
