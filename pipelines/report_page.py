"""A report for people: one page of HTML that loads nothing and runs nothing.

Needs Jinja2. All that comes from input, files and messages is data to it, and is escaped.
"""

from __future__ import annotations

import functools
import importlib.resources
import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import CommandError
from pipelines.failure_examples import MOST_KINDS, first_examples
from pipelines.job_history import History, make_history
from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan
from pipelines.printable import printable
from pipelines.redaction import redacted, redacted_values
from pipelines.report_plots import durations_plot, progress_plot, sizes_plot, stages_plot
from pipelines.report_text import MOST_WORKERS, batches_of, device_name
from pipelines.runs import Run
from pipelines.summary import describe_result
from pipelines.svg_plots import WIDTH
from pipelines.time_texts import short_duration, utc
from pipelines.verdict import describe_verdict

_TEMPLATE = "report_page.html.j2"
_MOST_RUNS, _MOST_REASONS, _MOST_ITEMS = 50, 20, 20
_MOST_CHARACTERS = 600
_STAGES = {
    "read": "storage, decompression, framing",
    "decode": "making columns and arrays",
    "queue": "while anything waited for the devices",
    "host_to_device": "joining, padding and slicing batches",
    "step": "the model's call",
    "gather": "outputs as NumPy",
    "write": "encoding outputs, storage",
}


def has_jinja() -> bool:
    """Whether pages can be made here."""
    return importlib.util.find_spec("jinja2") is not None


def require_jinja() -> None:
    """Refuses a page that cannot be made.

    Raises:
      CommandError: Jinja2 is not installed.
    """
    if not has_jinja():
        raise CommandError(
            "expected Jinja2 for --format html. Received: an installation without it. Run "
            "pip install jinja2 (it is in the extra mirrorbeam[report]), or pass --format text "
            "or json.")


def make_page(
    report: Mapping[str, Any],
    plan: JobPlan,
    records: Sequence[Mapping[str, Any]],
    runs: Sequence[Run],
    folder: OutputFolder,
) -> str:
    """The page of a job; its size does not grow with the job's rows, splits or workers.

    Args:
      report: as `build_report` makes it; with a `state` if the job has not come to its end.
      plan: the job's plan.
      records: its commit records.
      runs: the commands that worked on it, in their order.
      folder: its output, where failed rows are looked at.
    """
    report = redacted_values(report)
    history = make_history(records, [run.started_at for run in runs] or [plan.started_at])
    values = {
        "width": WIDTH,
        "report": report,
        "folder": redacted(folder.path),
        "failed_folder": redacted(folder.failed_folder),
        "started": _moment(report["started_at"]),
        "ended": _moment(report["ended_at"]),
        "model": redacted(_name_of_model(plan)),
        "state": "done" if report["succeeded"] else report.get("state", "failed"),
        "result": _cut(describe_result(report)),
        "reasons": [_cut(reason) for reason in report["reasons"][:_MOST_REASONS]],
        "more_reasons": max(0, len(report["reasons"]) - _MOST_REASONS),
        "tiles": _tiles(report),
        "verdict": describe_verdict(report),
        "progress": progress_plot(history),
        "stages": _stages(report),
        "stages_plot": stages_plot(report),
        "durations": history.durations,
        "durations_plot": durations_plot(history),
        "slowest": _slowest(history, plan),
        "sizes_plot": sizes_plot(report),
        "workers": _workers(report),
        "more_workers": max(0, len(report["workers"]) - MOST_WORKERS),
        "failures": _failures(report, folder, records),
        "more_failures": max(0, sum(map(len, report["failures"].values())) - MOST_KINDS),
        "facts": _facts(report, plan, folder),
        "settings": _settings(report["arguments"]),
        "columns": [(redacted(name), kind) for name, kind in plan.columns.items()][:_MOST_ITEMS],
        "more_columns": max(0, len(plan.columns) - _MOST_ITEMS),
        "versions": report["versions"],
        "runs": _runs(runs),
        "more_runs": max(0, len(runs) - _MOST_RUNS),
    }
    page: str = _template().render(values)
    return page


@functools.cache
def _template() -> Any:
    import jinja2

    text = importlib.resources.files("pipelines").joinpath(_TEMPLATE).read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        # What is markup already is of another type.
        finalize=lambda value: printable(value) if type(value) is str else value)
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["seconds"] = lambda number: f"{number:,.2f}"
    environment.filters["share"] = lambda part: f"{part:.1%}"
    environment.filters["duration"] = short_duration
    return environment.from_string(text)


def _moment(iso: str) -> str:
    """A report's moment in whole seconds."""
    return f"{iso[:19].replace('T', ' ')} UTC"


def _name_of_model(plan: JobPlan) -> str:
    return str(plan.arguments.get("model") or "a model")


def _tiles(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, figure and remark of what counts most."""
    rate, of_model = report.get("rows_per_second"), report.get("rate_of_model")
    remark = f"{of_model:.0%} of the model alone" if of_model else "while at work"
    part = report["failed"] / report["rows_in"] if report["rows_in"] else 0.0
    share = "less than 0.01%" if 0 < part < 1e-4 else f"{part:.2%} of them"
    splits = f"{report['splits_committed']:,} of {report['splits']:,} splits"
    runs = f"{report['runs']:,} runs" if report["runs"] > 1 else "from command to end"
    return [
        ("rows read", f"{report['rows_in']:,}", splits),
        ("predicted", f"{report['predicted']:,}", ""),
        ("failed", f"{report['failed']:,}", share),
        ("time in all", short_duration(report["seconds"]), runs),
        ("rows per second", f"{rate:,.0f}" if rate else "–", remark if rate else ""),
    ]


def _stages(report: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [(name, _STAGES.get(name, ""), stage) for name, stage in report["stages"].items()]


def _slowest(history: History, plan: JobPlan) -> list[dict[str, Any]]:
    if history.durations is None:
        return []
    named = {split.name for split in history.durations.slowest}
    sources = {split.name: split.files for split in plan.splits if split.name in named}
    return [
        {
            "name": split.name,
            "source": redacted(sources[split.name][0]) if sources.get(split.name) else "",
            "more": max(0, len(sources.get(split.name, ())) - 1),
            "rows": split.rows,
            "seconds": split.seconds,
            "is_straggler": split.is_straggler,
        }
        for split in history.durations.slowest
    ]


def _workers(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that ran out of memory first, then the others by rows."""
    ordered = sorted(
        report["workers"],
        key=lambda worker: (-worker.get("out_of_memory", 0), -worker.get("rows", 0)))
    return [
        {
            "process": worker.get("process"),
            "devices": ", ".join(map(device_name, worker.get("devices", ()))),
            "rows": worker.get("rows", 0),
            "batch_rows": worker.get("batch_rows"),
            "batches": batches_of(worker),
            "padded": worker.get("padded_rows", 0),
            "out_of_memory": worker.get("out_of_memory", 0),
            "loads": worker.get("model_loads", 0),
        }
        for worker in ordered[:MOST_WORKERS]
    ]


def _failures(
    report: Mapping[str, Any], folder: OutputFolder, records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    examples = first_examples(folder, records) if report["failed"] else {}
    kinds = [
        (rows, stage, error)
        for stage, errors in report["failures"].items()
        for error, rows in errors.items()
    ]
    kinds.sort(key=lambda kind: -kind[0])
    return [
        {"stage": stage, "error": error, "rows": rows,
         "examples": examples.get((stage, error), [])}
        for rows, stage, error in kinds[:MOST_KINDS]
    ]  # fmt: skip


def _facts(
    report: Mapping[str, Any], plan: JobPlan, folder: OutputFolder
) -> list[tuple[str, str]]:
    """What was scored, by which model, to where."""
    parts = plan.fingerprint.parts
    inputs = parts.get("inputs") or {}
    facts = {
        "model": _text(redacted(_name_of_model(plan))),
        "model digest": parts.get("model_digest"),
        "signature": parts.get("signature"),
        "input": _text(redacted_values(plan.arguments.get("input") or [])),
        "input files": f"{inputs['files']:,}, {inputs['bytes']:,} bytes, {parts['input_format']}"
        if inputs.get("files") is not None else None,
        "output": f"{redacted(folder.path)}, {report.get('output_bytes', 0):,} bytes, "
        f"{plan.output_format}",
        "_row counts": f"{plan.row_unit}s",
        "devices": ", ".join(map(device_name, report.get("devices", ()))),
        "fingerprint": report.get("fingerprint"),
    }  # fmt: skip
    return [(name, str(value)) for name, value in facts.items() if value]


def _settings(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The flags that say something."""
    return [
        (name, _text(value))
        for name, value in arguments.items()
        if value not in (None, False, [], "")
    ]


def _runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    shown = list(enumerate(runs, 1))[-_MOST_RUNS:]
    return [
        {
            "number": number,
            "started": utc(run.started_at),
            "ended": utc(run.ended_at) if run.ended_at is not None else "",
            "code": "" if run.exit_code is None else run.exit_code,
            "where": f"{run.host}:{run.pid}" + (", detached" if run.detached else ""),
        }
        for number, run in shown
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        items = ", ".join(map(_text, value[:_MOST_ITEMS]))
        more = len(value) - _MOST_ITEMS
        return _cut(items) + (f" and {more:,} more" if more > 0 else "")
    if isinstance(value, str):
        return _cut(value)
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
