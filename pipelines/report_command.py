"""`mirrorbeam report`: what a job did, from its output folder alone."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import storage
from pipelines.beam_options import pipeline_options, use_for_files
from pipelines.errors import CommandError
from pipelines.job_reading import JobFiles, read_job, read_records
from pipelines.output_folder import OutputFolder
from pipelines.printable import printable
from pipelines.redaction import redacted, redacted_values
from pipelines.report import build_report
from pipelines.report_options import FORMATS
from pipelines.report_page import make_page, require_jinja
from pipelines.report_text import describe_details
from pipelines.runs import as_last_given
from pipelines.status import make_status
from pipelines.summary import describe_report

EXIT_DONE = 0

_SUFFIXES = {".json": "json", ".html": "html", ".htm": "html", ".txt": "text"}

# A report without these is another release's, and is made anew.
_TOLD: dict[str, Any] = {
    "rows_in": int, "predicted": int, "failed": int, "failures": dict, "splits": int,
    "splits_committed": int, "seconds": (int, float), "runs": int, "stages": dict,
    "workers": list, "batch_sizes": dict, "versions": dict, "arguments": dict,
}  # fmt: skip


def run(flags: argparse.Namespace, beam_arguments: Sequence[str]) -> int:
    """Carries `mirrorbeam report` out.

    Args:
      flags: what the parser understood.
      beam_arguments: the rest of the command line, by which Beam's filesystems go.

    Raises:
      CommandError: the folder is no job's output, an option is not Beam's, the file cannot be
        written, or a package is missing.
    """
    chosen = _format_of(flags)
    if chosen == "html":
        require_jinja()
    folder = OutputFolder(flags.folder)
    paths = [folder.path, *([flags.to] if flags.to else [])]
    if beam_arguments or not all(map(storage.is_local, paths)):
        use_for_files(pipeline_options(beam_arguments, "report"))
    job = read_job(folder)
    report = _valid(job.report)
    records = read_records(folder, job.plan) if report is None or chosen == "html" else []
    if report is None:
        report = report_so_far(job, records, time.time())
    text = _formatted(chosen, report, folder, job, records)
    if flags.to:
        _write(flags.to, text)
    else:
        sys.stdout.write(text)
    return EXIT_DONE


def report_so_far(
    job: JobFiles, records: Sequence[Mapping[str, Any]], now: float
) -> dict[str, Any]:
    """The report of a job that has none: it runs, or its command died.

    Args:
      job: what is known of it.
      records: its commit records.
      now: seconds since 1970.

    Returns:
      What `build_report` gives for the splits that are committed, with the job's `state` as
      `mirrorbeam status` tells it. Of versions, only TensorFlow's is told, by the workers.
    """
    status = make_status(job.plan, records, job.runs, job.report, job.succeeded, now)
    heard_at = status.last_commit_at or status.started_at
    plan = as_last_given(job.plan, job.runs)
    report = build_report(
        plan, records, [], now if status.state == "running" else heard_at,
        [run.started_at for run in job.runs])  # fmt: skip
    done = f"{status.splits_committed:,} of {status.splits:,} splits are committed"
    versions = {str(worker.get("tensorflow")) for worker in report["workers"]}
    return report | {
        "state": status.state,
        "succeeded": job.succeeded,
        "reasons": [] if job.succeeded else [*status.reasons, f"{done}."],
        "versions": {"tensorflow": ", ".join(sorted(versions))} if versions else {},
    }


def _format_of(flags: argparse.Namespace) -> str:
    named = "json" if flags.json else flags.format
    if flags.json and flags.format not in (None, "json"):
        raise CommandError(
            f"expected one format. Received: --json and --format {flags.format}. Pass one of them.")
    if named is None and flags.to:
        suffix = f".{flags.to.lower().rpartition('.')[2]}"
        named = _SUFFIXES.get(suffix)
        if named is None:
            raise CommandError(
                f"expected --to with a suffix that tells the format, {' '.join(_SUFFIXES)}. "
                f"Received: {flags.to}. Pass --format {'|'.join(FORMATS)}.")
    return named or "text"


def _valid(report: dict[str, Any] | None) -> dict[str, Any] | None:
    if report is None:
        return None
    holds = all(isinstance(report.get(name), kind) for name, kind in _TOLD.items())
    return report if holds else None


def _formatted(
    chosen: str,
    report: dict[str, Any],
    folder: OutputFolder,
    job: JobFiles,
    records: Sequence[Mapping[str, Any]],
) -> str:
    if chosen == "json":
        return json.dumps(redacted_values(report), indent=1) + "\n"
    if chosen == "html":
        return make_page(report, as_last_given(job.plan, job.runs), records, job.runs, folder)
    return printable(redacted(describe_report(report, folder) + describe_details(report)))


def _write(path: str, text: str) -> None:
    try:
        with storage.create(path) as file:
            file.write(text.encode(errors="backslashreplace"))
    except (OSError, ValueError) as error:
        raise CommandError(
            f"expected a file that can be written for --to. Received: {path}; {error}") from error
