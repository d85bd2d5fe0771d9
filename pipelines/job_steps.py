"""The steps of a job in a Beam pipeline."""

from __future__ import annotations

import apache_beam as beam

from pipelines.commit_stage import CommitDoFn, FinishJob
from pipelines.planned_splits import PlannedSplits, UncommittedDoFn
from pipelines.profiling import ProfileDoFn
from pipelines.progress import ProgressDoFn
from pipelines.read_stage import ReadDoFn, without_images, without_misfits
from pipelines.sources.images import IMAGE_COLUMN
from pipelines.validation import Job


def add_steps(pipeline: beam.Pipeline, job: Job) -> beam.PCollection:
    """Adds a job's steps to a pipeline: one chain from splits to commits, then the finish."""
    source = job.feeding.source
    # A process that runs the job again, or another, counts its seconds anew.
    run_name = f"{job.folder.path} {job.plan.started_at}"
    plan_id = job.plan.id
    blocks = (
        pipeline
        | "Splits" >> PlannedSplits(job.folder.path, plan_id)
        | "Spread" >> beam.Reshuffle()
        | "Uncommitted" >> beam.ParDo(UncommittedDoFn(job.folder.path, job.sink, plan_id))
        | "Read" >> beam.ParDo(ReadDoFn(source, job.feeding.padded, run_name))
        | "Fit" >> beam.Map(without_misfits, job.sink, job.feeding.kept)
        | "Predict" >> job.predict
    )
    if source.gives_images and IMAGE_COLUMN not in job.feeding.kept:
        blocks |= "Drop images" >> beam.Map(without_images, IMAGE_COLUMN)
    commit = CommitDoFn(
        job.folder.path, job.sink, source.columns_schema(), job.options.provenance, run_name,
        plan_id,
        origin=source.origin,
    )
    commits = blocks | "Commit" >> beam.ParDo(commit)
    if job.options.profile:
        commits |= "Profile" >> beam.ParDo(ProfileDoFn(job.options.profile, run_name))
    return (
        commits
        | "Progress" >> beam.ParDo(ProgressDoFn(len(job.plan.splits)))
        | "Finish" >> FinishJob(job.folder.path, plan_id)
    )
