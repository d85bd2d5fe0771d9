"""How many threads read a job's splits, and where the workers are."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import DirectOptions

from pipelines.beam_options import pipeline_options, read_in_threads, worker_place
from transforms.cores import usable_cores


@pytest.mark.parametrize(
    ("arguments", "splits", "expected"),
    [
        ([], 1, (1, "in_memory")),
        ([], 100, (min(8, usable_cores()), "multi_threading")),
        (["--direct_num_workers=3"], 100, (3, "in_memory")),
        (["--direct_running_mode=multi_processing"], 100, (1, "multi_processing")),
        (["--runner=FlinkRunner"], 100, (1, "in_memory")),
    ],
)
def test_splits_are_read_in_threads_unless_told_otherwise(
    arguments: list[str], splits: int, expected: tuple[int, str]
) -> None:
    options = pipeline_options(arguments)
    read_in_threads(options, arguments, splits)
    direct = options.view_as(DirectOptions)
    if usable_cores() == 1 and not arguments:
        expected = (1, "in_memory")
    assert (direct.direct_num_workers, direct.direct_running_mode) == expected


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ([], "process"),
        (["--runner=DirectRunner"], "process"),
        (["--direct_running_mode=multi_processing"], "machine"),
        (["--runner=PrismRunner"], "process"),
        (["--runner=PrismRunner", "--environment_type=LOOPBACK"], "process"),
        (["--runner=PrismRunner", "--environment_type=DOCKER"], "elsewhere"),
        (["--runner=DataflowRunner"], "elsewhere"),
        (["--runner=FlinkRunner"], "elsewhere"),
    ],
)
def test_where_workers_run(arguments: list[str], place: str) -> None:
    assert worker_place(pipeline_options(arguments)) == place
