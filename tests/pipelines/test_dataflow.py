"""What is filled in for Dataflow, and what is refused before anything is sent."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from pipelines.beam_options import pipeline_options
from pipelines.cli import build_parser
from pipelines.dataflow import prepare
from pipelines.errors import CommandError
from pipelines.options import ScoreOptions

GCS = ["--model=gs://b/m.keras", "--input=gs://b/in", "--output=gs://b/out"]
DATAFLOW = ["--runner=DataflowRunner"]
IMAGE = ["--sdk_container_image=europe-docker.pkg.dev/p/r/mirrorbeam-gpu:1"]


def prepared(*arguments: str) -> tuple[PipelineOptions, list[str]]:
    flags, rest = build_parser(with_formats=False).parse_known_args(["score", *arguments])
    flags = argparse.Namespace(**vars(flags))
    options = pipeline_options(rest)
    return options, prepare(ScoreOptions.from_namespace(flags), options)


def values(options: PipelineOptions) -> dict[str, Any]:
    debug, setup = options.view_as(DebugOptions), options.view_as(SetupOptions)
    worker, cloud = options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions)
    return {
        "experiments": debug.experiments,
        "threads": debug.number_of_worker_harness_threads,
        "sdk_location": setup.sdk_location,
        "save_main_session": setup.save_main_session,
        "services": cloud.dataflow_service_options,
        "machine": worker.machine_type,
        "disk": worker.disk_size_gb,
    }


def test_gpus_fill_in_all_that_they_take() -> None:
    options, filled = prepared(*GCS, *DATAFLOW, *IMAGE, "--gpus=nvidia-l4:4")
    assert values(options) == {
        "experiments": ["no_use_multiple_sdk_containers"],
        "threads": 16,
        "sdk_location": "container",
        "save_main_session": False,
        "services": ["worker_accelerator=type:nvidia-l4;count:4;install-nvidia-driver"],
        "machine": "g2-standard-48",
        "disk": 100,
    }
    # What it says that it did, given as flags, is the same.
    again, more = prepared(*GCS, *DATAFLOW, *IMAGE, *filled)
    assert values(again) == values(options)
    assert more == []


def test_without_gpus_there_is_one_process_too() -> None:
    options, _ = prepared(*GCS, *DATAFLOW, "--setup_file=./setup.py")
    assert values(options) == {
        "experiments": ["no_use_multiple_sdk_containers"],
        "threads": 8,
        "sdk_location": "default",
        "save_main_session": False,
        "services": None,
        "machine": None,
        "disk": None,
    }


def test_what_is_given_stays() -> None:
    given = [
        "--number_of_worker_harness_threads=3", "--machine_type=g2-standard-16",
        "--disk_size_gb=55", "--experiments=shuffle_mode=service", "--save_main_session",
        "--sdk_location=gs://b/beam.tar.gz", "--dataflow_service_options=enable_prime",
    ]  # fmt: skip
    options, _ = prepared(*GCS, *DATAFLOW, *IMAGE, "--gpus=nvidia-l4", *given)
    assert values(options) == {
        "experiments": ["shuffle_mode=service", "no_use_multiple_sdk_containers"],
        "threads": 3,
        "sdk_location": "gs://b/beam.tar.gz",
        "save_main_session": True,
        "services": [
            "enable_prime",
            "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver",
        ],
        "machine": "g2-standard-16",
        "disk": 55,
    }


def test_several_processes_without_gpus_are_the_users_choice() -> None:
    options, _ = prepared(*GCS, *DATAFLOW, *IMAGE, "--experiments=use_multiple_sdk_containers")
    assert values(options)["experiments"] == ["use_multiple_sdk_containers"]
    assert values(options)["threads"] is None


@pytest.mark.parametrize("runner", ["FnApiRunner", "DirectRunner", "FlinkRunner", "PrismRunner"])
def test_other_runners_are_left_alone(runner: str) -> None:
    options, filled = prepared(
        "--model=m.keras", "--input=in", "--output=out", f"--runner={runner}"
    )
    assert filled == []
    assert values(options)["experiments"] is None


L4 = "--gpus=nvidia-l4:4"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*GCS, L4], "FnApiRunner"),
        ([*GCS, L4, "--runner=FlinkRunner"], "--devices"),
        ([*GCS, *DATAFLOW], "--sdk_container_image"),
        ([*GCS, *DATAFLOW, L4], "containers/gpu.Dockerfile"),
        ([*GCS, *DATAFLOW, L4, "--setup_file=./setup.py"], "containers/gpu.Dockerfile"),
        ([*GCS, *DATAFLOW, *IMAGE, "--model=m.keras"], "--model m.keras"),
        ([*GCS, *DATAFLOW, *IMAGE, "--output=file:///out"], "--output file:///out"),
        ([*GCS, *DATAFLOW, *IMAGE, "--input", "gs://b/x,here"], "--input here"),
        ([*GCS, *DATAFLOW, *IMAGE, "--profile=traces"], "--profile traces"),
        (
            [*GCS, *DATAFLOW, *IMAGE, L4, "--experiments=use_multiple_sdk_containers"],
            "one for each core",
        ),
        (
            [*GCS, *DATAFLOW, *IMAGE, L4, "--resource_hints=accelerator=type:nvidia-l4"],
            "--resource_hints=accelerator=type:nvidia-l4",
        ),
        (
            [*GCS, *DATAFLOW, *IMAGE, L4, "--dataflow_service_options=worker_accelerator=count:2"],
            "worker_accelerator=count:2",
        ),
        ([*GCS, *DATAFLOW, *IMAGE, L4, "--machine_type=n1-standard-4"], "g2-standard-48"),
        ([*GCS, *DATAFLOW, *IMAGE, "--gpus=nvidia-l4:3"], "1, 2, 4, 8"),
    ],
)
def test_contradictions_are_refused(arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=r"^expected .*Received: ") as error:
        prepared(*arguments)
    assert says in str(error.value)
