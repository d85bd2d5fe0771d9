"""What Dataflow must be told so that each worker machine has one process with all its GPUs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines import storage
from pipelines.beam_options import is_dataflow, runner_name
from pipelines.errors import CommandError
from pipelines.gpus import Gpus, machine_for
from pipelines.inputs import input_patterns
from pipelines.options import ScoreOptions

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_LOG = logging.getLogger(__name__)

ONE_PROCESS = "no_use_multiple_sdk_containers"
_MANY_PROCESSES = "use_multiple_sdk_containers"
_ACCELERATOR = "worker_accelerator"

# Bundles that a process works on at once, each with a split open. Several for each GPU, so
# that reading and writing of some overlap the steps of others.
_LEAST_THREADS = 8
_THREADS_OF_A_GPU = 4

# An image with CUDA's libraries takes about ten of them, a copy of the model the rest.
_GPU_DISK_GIB = 100


def prepare(options: ScoreOptions, beam_options: PipelineOptions) -> list[str]:
    """Fills in what a job on Dataflow needs and its command does not say.

    Args:
      options: the command's own flags.
      beam_options: the others; changed in place where the runner is Dataflow.

    Returns:
      What was filled in, as flags.

    Raises:
      CommandError: the flags contradict each other, or workers could not do what they say.
    """
    if not is_dataflow(beam_options):
        if options.gpus is not None:
            raise CommandError(
                f"expected --gpus with --runner=DataflowRunner, which starts machines. Received: "
                f"--gpus {options.gpus} with {runner_name(beam_options)}, whose workers have "
                "the GPUs of their machines. Leave it out; --devices chooses among them."
            )
        return []
    _refuse_local_paths(options)
    _refuse_missing_code(options.gpus, beam_options)
    filled = [*_fill_process(options.gpus, beam_options)]
    if options.gpus is not None:
        filled += _fill_gpus(options.gpus, beam_options)
    if filled:
        _LOG.info("filled in for Dataflow: %s", " ".join(filled))
    return filled


def _refuse_local_paths(options: ScoreOptions) -> None:
    paths = [("--model", options.model.path), ("--output", options.output)]
    paths += [("--input", pattern) for pattern in input_patterns(options.input)]
    if options.profile is not None:
        paths.append(("--profile", options.profile))
    local = [
        f"{flag} {path}"
        for flag, path in paths
        if storage.is_local(path) or path.startswith("file://")
    ]
    if local:
        raise CommandError(
            "expected paths that Dataflow's workers reach, such as gs://BUCKET/PATH. Received: "
            f"{', '.join(local)}. Copy what is on this machine: gcloud storage cp -r PATH "
            "gs://BUCKET/"
        )


def _refuse_missing_code(gpus: Gpus | None, beam_options: PipelineOptions) -> None:
    """Refuses workers that would lack this package, or TensorFlow's CUDA libraries."""
    from apache_beam.options.pipeline_options import SetupOptions, WorkerOptions

    setup = beam_options.view_as(SetupOptions)
    has_image = bool(beam_options.view_as(WorkerOptions).sdk_container_image)
    may_install_cuda = bool(setup.requirements_file or setup.extra_packages)
    if has_image or may_install_cuda or (setup.setup_file and gpus is None):
        return
    if gpus is None:
        raise CommandError(
            "expected workers that have mirrorbeam. Received: neither --sdk_container_image nor "
            "--setup_file. Pass an image made by containers/cpu.Dockerfile, or --setup_file "
            "./setup.py from a checkout."
        )
    raise CommandError(
        f"expected an image with CUDA's libraries for --gpus {gpus}. Received: no "
        "--sdk_container_image, and Beam's own image has none. Pass one made by "
        "containers/gpu.Dockerfile."
    )


def _fill_process(gpus: Gpus | None, beam_options: PipelineOptions) -> Iterator[str]:
    """One process with one model on each machine, and enough threads to feed it."""
    from apache_beam.options.pipeline_options import DebugOptions, SetupOptions, WorkerOptions

    debug = beam_options.view_as(DebugOptions)
    setup = beam_options.view_as(SetupOptions)
    experiments = list(debug.experiments or [])
    if _MANY_PROCESSES in experiments and (gpus is not None or ONE_PROCESS in experiments):
        raise CommandError(
            "expected one process for each machine, whose model all of its GPUs share. Received: "
            f"--experiments={_MANY_PROCESSES}, which is one for each core. Leave it out."
        )
    if _MANY_PROCESSES not in experiments and ONE_PROCESS not in experiments:
        debug.experiments = [*experiments, ONE_PROCESS]
        yield f"--experiments={ONE_PROCESS}"
    if not debug.number_of_worker_harness_threads and _MANY_PROCESSES not in experiments:
        threads = max(_LEAST_THREADS, _THREADS_OF_A_GPU * (0 if gpus is None else gpus.per_worker))
        debug.number_of_worker_harness_threads = threads
        yield f"--number_of_worker_harness_threads={threads}"
    if beam_options.view_as(WorkerOptions).sdk_container_image and setup.sdk_location == "default":
        setup.sdk_location = "container"
        yield "--sdk_location=container"
    if setup.save_main_session is None:
        # All that workers unpickle is in modules: `__main__` is only the command.
        setup.save_main_session = False
        yield "--no_save_main_session"


def _fill_gpus(gpus: Gpus, beam_options: PipelineOptions) -> Iterator[str]:
    """The machine, its GPUs and driver, and room for a large image."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions, WorkerOptions

    cloud = beam_options.view_as(GoogleCloudOptions)
    worker = beam_options.view_as(WorkerOptions)
    services = list(cloud.dataflow_service_options or [])
    _refuse_second_accelerator(gpus, services, beam_options)
    service = f"{_ACCELERATOR}=type:{gpus.kind};count:{gpus.per_worker};install-nvidia-driver"
    cloud.dataflow_service_options = [*services, service]
    yield f"--dataflow_service_options={service}"
    try:
        machine = machine_for(gpus, worker.machine_type)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if worker.machine_type is None:
        worker.machine_type = machine
        yield f"--machine_type={machine}"
    if worker.disk_size_gb is None:
        worker.disk_size_gb = _GPU_DISK_GIB
        yield f"--disk_size_gb={_GPU_DISK_GIB}"


def _refuse_second_accelerator(
    gpus: Gpus, services: list[str], beam_options: PipelineOptions
) -> None:
    from apache_beam.options.pipeline_options import StandardOptions

    given = [
        f"--dataflow_service_options={service}"
        for service in services
        if service.startswith(_ACCELERATOR)
    ]
    hints = beam_options.view_as(StandardOptions).resource_hints or []
    given += [f"--resource_hints={hint}" for hint in hints if hint.startswith("accelerator")]
    if given:
        raise CommandError(
            f"expected GPUs to be asked for once. Received: --gpus {gpus} and {given[0]}. "
            "Leave one of them out."
        )
