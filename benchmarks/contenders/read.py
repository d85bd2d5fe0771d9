"""This project's reader without a model: what reading and decoding alone takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cases.base import Job
from benchmarks.contenders.mirrorbeam import score_arguments
from benchmarks.measured import SEEN


def files(job: Job) -> Callable[[], None]:
    """The splits and columns of the `mirrorbeam score` command of the case, read and dropped."""
    reading(job, job.data / job.case.warm_input)()
    return reading(job, job.data / job.case.input)


def reading(job: Job, source: Path) -> Callable[[], None]:
    """A pipeline that reads and decodes an input, in as many threads as the command would."""
    import apache_beam as beam

    from pipelines.beam_options import pipeline_options, read_in_threads
    from pipelines.cli import build_parser
    from pipelines.options import ScoreOptions
    from pipelines.read_stage import ReadDoFn
    from pipelines.validation import check_job

    arguments = score_arguments(job, source, job.output / "unused")
    flags, rest = build_parser().parse_known_args(arguments)
    checked = check_job(
        ScoreOptions.from_namespace(flags), workers="process", started_at=time.time()
    )
    splits = checked.plan.splits
    read = ReadDoFn(checked.feeding.source, checked.feeding.padded)

    def run() -> None:
        options = pipeline_options(rest)
        read_in_threads(options, rest, len(splits))
        with beam.Pipeline(options=options) as pipeline:
            blocks = pipeline | beam.Create(splits) | beam.Reshuffle() | beam.ParDo(read)
            _ = blocks | beam.Map(see)

    return run


def see(block: Any) -> None:
    """Counts the rows of a block."""
    SEEN.count(block.batch.num_rows)
