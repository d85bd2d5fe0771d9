"""What `mirrorbeam score` tells on stdout: the plan before, the result after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.verdict import describe_verdict

if TYPE_CHECKING:
    from pipelines.output_folder import OutputFolder
    from pipelines.validation import Job


def describe_plan(job: Job) -> str:
    """A few lines on what is about to be done."""
    rows = f"{job.plan.rows:,} rows" if job.plan.rows is not None else "rows to be counted"
    size = _size(sum(file.size_bytes for file in job.files))
    files, splits = _counted(len(job.files), "file"), _counted(len(job.plan.splits), "split")
    if job.resumes:
        splits += f", {job.committed:,} of them committed already"
    lines = {
        "input": f"{job.feeding.source.name}, {files}, {size}, {rows}, {splits}",
        "model": f"{job.model.spec.path} ({job.model.kind}, {job.model.signature.name})",
        "fed": ", ".join(
            f"{feed.column} → {feed.name}" + (f": {feed.field}" if feed.field else "")
            for feed in job.feeding.feeds
        ),
        "kept": ", ".join(job.feeding.kept) or "nothing",
        "output": f"{job.folder.path} ({job.sink.name})",
    }
    if job.output_schema is not None:
        lines["columns"] = ", ".join(f"{field.name}: {field.type}" for field in job.output_schema)
    return table(lines)


def describe_report(report: Mapping[str, Any], folder: OutputFolder) -> str:
    """A few lines on how it went."""
    lines = {
        "result": describe_result(report),
        "rows": f"{report['rows_in']:,} read, {report['predicted']:,} predicted, "
        f"{report['failed']:,} failed",
        "rate": _rate(report),
        "output": folder.path,
    }
    verdict = describe_verdict(report)
    if verdict is not None:
        lines["bound by"] = verdict
    if report["failed"]:
        lines["failures"] = ", ".join(
            f"{rows:,} {error} ({stage})"
            for stage, errors in report["failures"].items()
            for error, rows in errors.items()
        )
        lines["rows of them"] = folder.failed_folder
    if "read" in report["failures"]:
        lines["note"] = (
            "where a file could not be read to its end, one failure stands for all that is left"
        )
    return table(lines)


def describe_result(report: Mapping[str, Any]) -> str:
    """How a job ended, or what became of it where it has not come to its end."""
    told = " ".join(report["reasons"])
    return "done" if report["succeeded"] else f"{report.get('state', 'failed')}: {told}"


def _rate(report: Mapping[str, Any]) -> str:
    if not report["rows_per_second"]:
        return "no rows"
    text = f"{report['rows_per_second']:,.0f} rows/s"
    if report["rate_of_model"]:
        text += (
            f", {report['rate_of_model']:.0%} of the model alone "
            f"({report['model_rows_per_second']:,.0f} rows/s)"
        )
    runs = f", {report['runs']} runs" if report["runs"] > 1 else ""
    return f"{text}, {report['seconds']:.1f} s in all{runs}"


def table(lines: Mapping[str, str]) -> str:
    """Named lines of text, one below the other."""
    width = max(map(len, lines))
    return "".join(f"{name:<{width}}  {text}\n" for name, text in lines.items())


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size_bytes: int) -> str:
    size, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
