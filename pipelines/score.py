"""`mirrorbeam score`: checks a job, runs its pipeline and says how it went."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines import dataflow, storage
from pipelines.beam_errors import what_failed, without_printed_stacks
from pipelines.beam_options import WorkerPlace, pipeline_options, read_in_threads, worker_place
from pipelines.errors import CommandError
from pipelines.finish import finish_job
from pipelines.job_fingerprint import plain_arguments
from pipelines.job_steps import add_steps
from pipelines.options import ScoreOptions
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.persistence import Persistence
from pipelines.planned_inputs import PlannedInputs
from pipelines.resume import committed_splits, warn_of_another_run
from pipelines.retrying import OutageError, is_outage
from pipelines.runs import Run, end_run, start_run
from pipelines.summary import describe_plan, describe_report
from pipelines.validation import CommittedJob, Job, check_job

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_LOG = logging.getLogger(__name__)

EXIT_DONE, EXIT_FAILED = 0, 1


class _Outcome(NamedTuple):
    """How a run ended.

    Attributes:
      code: the exit code.
      again: the command goes on by itself with what is left.
      is_outage: since storage failed that may work later.
      has_run: whether it came so far.
      run: what is noted of it in the folder, until its end.
      reason: why it failed, where no report says so.
    """

    code: int
    again: bool = False
    is_outage: bool = False
    has_run: bool = True
    run: Run | None = None
    reason: str | None = None


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
    workers = worker_place(beam_options)
    persistence = Persistence()
    outcome = _Outcome(EXIT_FAILED, has_run=False)
    while True:
        job = None
        try:
            pipeline = _pipeline(beam_options)
            job = _checked(options, workers, started_at)
            if isinstance(job, CommittedJob):
                outcome = _finish(job, started_at)
            else:
                outcome = _score(pipeline, beam_options, beam_arguments, job)
        except CommandError as error:
            if not outcome.has_run:
                raise
            # It was right when it was given.
            _LOG.error("the job cannot go on: %s", error)
            outcome = _Outcome(EXIT_FAILED, is_outage(error), is_outage(error))
        pause = None
        if outcome.again:
            pause = persistence.pause_seconds(_committed(job), outcome.is_outage)
        if job is not None and outcome.run is not None:
            _end_run(job.folder, outcome.run, outcome, pause)
        if pause is None:
            return outcome.code
        if outcome.is_outage:
            _LOG.warning("storage failed: going on in %.0f s with what is not committed", pause)
            time.sleep(pause)
        # What `--overwrite` was for is gone; the splits that hold stay.
        options = dataclasses.replace(options, overwrite=False)
        started_at = time.time()


def _checked(
    options: ScoreOptions, workers: WorkerPlace, started_at: float
) -> Job | CommittedJob:
    try:
        return check_job(options, workers=workers, started_at=started_at)
    except OSError as error:
        raise CommandError(
            f"expected storage that can be reached. Received: {type(error).__name__}: {error}. "
            "Give the same command again when it can."
        ) from error


def _committed(job: Job | CommittedJob | None) -> int:
    """Splits that are committed after a run, as far as can be told."""
    try:
        return 0 if job is None else len(committed_splits(job.folder, job.plan))
    except OSError as error:
        _LOG.debug("what is committed cannot be told: %s", error)
        return 0


def _score(
    pipeline: beam.Pipeline,
    beam_options: PipelineOptions,
    beam_arguments: Sequence[str],
    job: Job,
) -> _Outcome:
    """Runs what is left of a job."""
    try:
        sys.stdout.write(describe_plan(job))
        if job.options.dry_run:
            return _Outcome(EXIT_DONE)
        left = len(job.plan.splits) - job.committed
        read_in_threads(pipeline.options, beam_arguments, left)
        add_steps(pipeline, job)
        run_of_job = _claim_folder(job, _is_detached(beam_options))
        if run_of_job is None:
            _LOG.warning("another command was at %s meanwhile: looking again", job.folder.path)
            return _Outcome(EXIT_FAILED, again=True, has_run=False)
        return _run(pipeline, beam_options, job)._replace(run=run_of_job)
    finally:
        if job.lease is not None:
            job.lease.release()


def _finish(job: CommittedJob, started_at: float) -> _Outcome:
    """Finishes a job that has nothing left to score."""
    splits = f"{len(job.plan.splits):,}"
    done = f"nothing is left to score: {splits} of {splits} splits are committed"
    if job.options.dry_run:
        sys.stdout.write(f"{done}\n")
        return _Outcome(EXIT_DONE)
    run_of_job = None
    try:
        if job.finished:
            sys.stdout.write(f"{done}, and the job has succeeded\n")
            report = json.loads(storage.read_existing(job.folder.report))
        else:
            sys.stdout.write(f"{done}\n")
            run_of_job = _start_run(job.folder, job.options, started_at, detached=False)
            report = finish_job(job.plan, job.folder, job.plan.id)
    except (OSError, OutageError, OutputError) as error:
        reason = what_failed(error)
        _LOG.error("the job could not be finished: %s", reason)
        return _Outcome(
            EXIT_FAILED, is_outage(error), is_outage(error), run=run_of_job, reason=reason
        )
    return _concluded(report, job.folder)._replace(run=run_of_job)


def _pipeline(options: PipelineOptions) -> beam.Pipeline:
    try:
        return beam.Pipeline(options=options)
    except (ValueError, ImportError) as error:
        raise CommandError(
            f"expected Beam pipeline options that fit together. Received: {error}"
        ) from error


def _claim_folder(job: Job, detached: bool) -> Run | None:
    """Makes the output folder the job's, or goes on with it.

    None where it is another's by now, or has been finished.
    """
    try:
        if job.resumes:
            if not job.succeeded and storage.size_bytes(job.folder.success) is not None:
                return None
            warn_of_another_run(job.folder)
            # They tell of an earlier run, and a later one must not be taken for it.
            storage.delete([job.folder.success, job.folder.html_report, job.folder.report])
        elif not job.folder.begin(job.plan, job.earlier):
            return None
        if not job.resumes or storage.size_bytes(job.folder.inputs) is None:
            inputs = PlannedInputs(job.files, job.input_schema)
            job.folder.write(job.folder.inputs, inputs.to_json().encode())
        started_at = time.time() if job.resumes else job.plan.started_at
        return _start_run(job.folder, job.options, started_at, detached)
    except OSError as error:
        raise CommandError(
            f"expected an output folder that can be written. Received: {error}."
        ) from error


def _start_run(
    folder: OutputFolder, options: ScoreOptions, started_at: float, detached: bool
) -> Run:
    return start_run(
        folder, plain_arguments(options), options.max_failed_fraction, started_at, detached
    )


def _end_run(
    folder: OutputFolder, run_of_job: Run, outcome: _Outcome, pause_seconds: float | None
) -> None:
    """Notes how a run ended; that it cannot be noted is no reason for it to end otherwise."""
    now = time.time()
    again_at = None if pause_seconds is None else now + pause_seconds
    try:
        end_run(folder, run_of_job, now, outcome.code, again_at, outcome.reason)
    except OSError as error:
        _LOG.warning("the end of this run could not be noted: %s", error)


def _run(pipeline: beam.Pipeline, options: PipelineOptions, job: Job) -> _Outcome:
    try:
        with without_printed_stacks():
            result = pipeline.run()
            return _outcome(result, options, job)
    except Exception as error:
        # Beam has logged where it was raised.
        reason = what_failed(error)
        _LOG.error(
            "the job failed: %s; when that is mended the same command goes on with what is not "
            "committed", reason,
        )  # fmt: skip
        _LOG.debug("raised by the runner", exc_info=True)
        # Runners elsewhere have repeated what failed by themselves.
        again = is_outage(error) and worker_place(options) != "elsewhere"
        return _Outcome(EXIT_FAILED, again, is_outage=again, reason=reason)


def _outcome(result: PipelineResult, options: PipelineOptions, job: Job) -> _Outcome:
    template = options.view_as(GoogleCloudOptions).template_location
    if template:
        # Dataflow's result of a job that is only described says that it is done.
        sys.stdout.write(f"described in {template}, to be started from there\n")
        return _Outcome(EXIT_DONE)
    if _is_detached(options) and not PipelineState.is_terminal(result.state):
        sys.stdout.write(
            f"submitted: it finishes by itself, and {job.folder.success} appears when it has\n"
        )
        return _Outcome(EXIT_DONE)
    state = result.wait_until_finish()
    data = storage.read_bytes(job.folder.report)
    if data is None:
        _LOG.error(
            "the job ended as %s without a report in %s",
            state or PipelineState.UNKNOWN, job.folder.report,
        )  # fmt: skip
        return _Outcome(EXIT_FAILED)
    return _concluded(json.loads(data), job.folder)


def _concluded(report: Mapping[str, Any], folder: OutputFolder) -> _Outcome:
    """Prints a report; splits without a record that holds are to be redone."""
    sys.stdout.write(describe_report(report, folder))
    if report["succeeded"]:
        return _Outcome(EXIT_DONE)
    # Not those alone that it withdrew: another command's finish may have done so before.
    left = report["splits"] - report["splits_committed"]
    if left:
        _LOG.warning("%d splits whose files were not as committed are to be redone", left)
    return _Outcome(EXIT_FAILED, again=left > 0)


def _is_detached(options: PipelineOptions) -> bool:
    """Whether the command is to end while the job runs, or before it is started at all."""
    return bool(
        options.view_as(StandardOptions).no_wait_until_finish
        or options.view_as(GoogleCloudOptions).template_location
    )
