"""`mirrorbeam score`: builds the pipeline of a checked job, runs it and says how it went."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines import dataflow, storage
from pipelines.beam_options import pipeline_options, read_in_threads, worker_place
from pipelines.commit_stage import CommitDoFn, FinishJob
from pipelines.errors import CommandError
from pipelines.native_logs import import_tensorflow
from pipelines.options import ScoreOptions
from pipelines.planned_splits import PlannedSplits
from pipelines.profiling import ProfileDoFn
from pipelines.progress import ProgressDoFn
from pipelines.read_stage import ReadDoFn, without_images
from pipelines.sources.images import IMAGE_COLUMN
from pipelines.summary import describe_plan, describe_report
from pipelines.validation import Job, check_job

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_LOG = logging.getLogger(__name__)

EXIT_DONE, EXIT_FAILED = 0, 1


def run(flags: argparse.Namespace, beam_arguments: Sequence[str]) -> int:
    """Carries `mirrorbeam score` out.

    Args:
      flags: what the parser understood.
      beam_arguments: the rest of the command line.

    Returns:
      The exit code: 0 done or submitted, 1 failed.

    Raises:
      CommandError: the command was wrong; nothing has run.
    """
    started_at = time.time()
    options = ScoreOptions.from_namespace(flags)
    beam_options = pipeline_options(beam_arguments)
    dataflow.prepare(options, beam_options)
    pipeline = _pipeline(beam_options)
    import_tensorflow()
    job = check_job(options, workers=worker_place(beam_options), started_at=started_at)
    try:
        sys.stdout.write(describe_plan(job))
        if options.dry_run:
            return EXIT_DONE
        read_in_threads(beam_options, beam_arguments, len(job.plan.splits))
        build(pipeline, job)
        _claim_folder(job)
        return _run(pipeline, beam_options, job)
    finally:
        if job.lease is not None:
            job.lease.release()


def build(pipeline: beam.Pipeline, job: Job) -> Any:
    """Adds a job's steps to a pipeline: one chain from splits to commits, then the finish."""
    source = job.feeding.source
    # A process that runs the job again, or another, counts its seconds anew.
    run_name = f"{job.folder.path} {job.plan.started_at}"
    blocks = (
        pipeline
        | "Splits" >> PlannedSplits(job.folder.path)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadDoFn(source, job.feeding.padded, run_name))
        | "Predict" >> job.predict
    )
    if source.name == "images" and IMAGE_COLUMN not in job.feeding.kept:
        blocks |= "Drop images" >> beam.Map(without_images, IMAGE_COLUMN)
    commit = CommitDoFn(
        job.folder.path, job.sink, source.columns_schema(), job.options.provenance, run_name
    )
    commits = blocks | "Commit" >> beam.ParDo(commit)
    if job.options.profile:
        commits |= "Profile" >> beam.ParDo(ProfileDoFn(job.options.profile, run_name))
    return (
        commits
        | "Progress" >> beam.ParDo(ProgressDoFn(len(job.plan.splits)))
        | "Finish" >> FinishJob(job.folder.path)
    )


def _pipeline(options: PipelineOptions) -> beam.Pipeline:
    try:
        return beam.Pipeline(options=options)
    except (ValueError, ImportError) as error:
        raise CommandError(
            f"expected Beam pipeline options that fit together. Received: {error}"
        ) from error


def _claim_folder(job: Job) -> None:
    try:
        job.folder.begin(job.plan, job.earlier)
    except OSError as error:
        raise CommandError(
            f"expected an output folder that can be written. Received: {error}."
        ) from error


def _run(pipeline: beam.Pipeline, options: PipelineOptions, job: Job) -> int:
    try:
        result = pipeline.run()
        return _outcome(result, options, job)
    except Exception as error:
        # Beam has logged where it was raised.
        _LOG.error("the job failed: %s: %s", type(error).__name__, error)
        _LOG.debug("raised by the runner", exc_info=True)
        return EXIT_FAILED


def _outcome(result: PipelineResult, options: PipelineOptions, job: Job) -> int:
    if _is_detached(options) and not PipelineState.is_terminal(result.state):
        sys.stdout.write(
            f"submitted: it finishes by itself, and {job.folder.success} appears when it has\n"
        )
        return EXIT_DONE
    state = result.wait_until_finish()
    data = storage.read_bytes(job.folder.report)
    if data is None:
        _LOG.error(
            "the job ended as %s without a report in %s",
            state or PipelineState.UNKNOWN, job.folder.report,
        )  # fmt: skip
        return EXIT_FAILED
    report = json.loads(data)
    sys.stdout.write(describe_report(report, job.folder))
    return EXIT_DONE if report["succeeded"] else EXIT_FAILED


def _is_detached(options: PipelineOptions) -> bool:
    """Whether the command is to end while the job runs, or before it is started at all."""
    return bool(
        options.view_as(StandardOptions).no_wait_until_finish
        or options.view_as(GoogleCloudOptions).template_location
    )
