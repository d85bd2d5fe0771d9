"""This project: its transform over record batches, its command over files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.cases.base import Job
from benchmarks.measured import SEEN


def blocks(job: Job) -> Callable[[], None]:
    """Record batches of the in-memory generator through ``MirroredInference``."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from transforms import MirroredInference, MirroredInferenceDoFn
    from transforms.inference_setup import InferenceSetup

    model = str(job.model)
    # Loads the model; the process keeps it for the pipeline.
    MirroredInferenceDoFn(InferenceSetup.checked(model, devices=job.devices)).setup()

    def run() -> None:
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            scored = (
                pipeline
                | beam.Create([(0, job.rows, job.batch_rows or 4096)])
                | beam.FlatMap(record_batches)
                | MirroredInference(model, devices=job.devices)
            )
            _ = scored.predictions | beam.Map(see)

    return run


def record_batches(spec: tuple[int, int, int]) -> Iterator[Any]:
    """The generator's blocks as Arrow sees them, uncopied: those that the bare loop takes."""
    import pyarrow as pa

    from benchmarks.cases.record_batches import generate
    from benchmarks.models import FEATURES

    for block in generate(*spec):
        column = pa.FixedSizeListArray.from_arrays(block.reshape(-1), FEATURES)
        yield pa.RecordBatch.from_arrays([column], names=["features"])


def see(batch: Any) -> None:
    """Counts the rows of a scored record batch."""
    column = batch.column("scores")
    SEEN.block(column.values.to_numpy().reshape(batch.num_rows, -1))


def files(job: Job, *flags: str) -> Callable[[], None]:
    """The whole of `mirrorbeam score`, in this process; its first run has loaded the model."""
    score(job, job.data / job.case.warm_input, job.output / "warm_output", *flags)

    def run() -> None:
        score(job, job.data / job.case.input, job.output / "output", *flags)

    return run


def files_in_one_thread(job: Job) -> Callable[[], None]:
    """The command with a single worker thread."""
    return files(job, "--direct_num_workers=1")


def files_in_two_threads(job: Job) -> Callable[[], None]:
    """The command with two worker threads, whatever the machine has."""
    return files(job, "--direct_num_workers=2", "--direct_running_mode=multi_threading")


def process(job: Job) -> Callable[[], object]:
    """The command as a user starts it, from the start of its process to the end."""
    arguments = score_arguments(job, job.data / job.case.input, job.output / "output")
    command = [sys.executable, "-m", "pipelines", *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def score(job: Job, source: Path, target: Path, *flags: str) -> None:
    """Runs the command.

    Raises:
      RuntimeError: it did not end with 0.
    """
    from pipelines.cli import main

    code = main([*score_arguments(job, source, target), *flags])
    if code != 0:
        raise RuntimeError(f"expected exit code 0. Received: {code}.")


def score_arguments(job: Job, source: Path, target: Path) -> list[str]:
    """The command line of a case."""
    devices = "all" if job.gpu else "CPU:0"
    flags = {"input": source, "model": job.model, "output": target, "devices": devices}
    return ["score", *(f"--{name}={value}" for name, value in flags.items()), *job.case.flags]
