"""The pipeline's splits are those of the plan, and its graph does not grow with them."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.output_folder import OutputError, OutputFolder
from pipelines.planned_splits import PlannedSplits
from tests.pipelines.jobs import plan


def test_the_splits_come_from_the_folder(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    made = plan(splits=100)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    splits = pipeline | PlannedSplits(folder.path)
    assert pipeline.to_runner_api().ByteSize() < 10_000
    folder.begin(made, None)
    assert_that(splits, equal_to(list(made.splits)))
    pipeline.run().wait_until_finish()


def test_a_folder_that_workers_do_not_see_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"plan\.json. Received: no such file. Workers must see"):
        OutputFolder(str(tmp_path)).require_plan()
