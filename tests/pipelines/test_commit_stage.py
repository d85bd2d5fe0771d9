"""Committing and finishing as the end of a Beam pipeline."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.commit_stage import CommitDoFn, FinishJob
from pipelines.output_folder import OutputFolder
from pipelines.sinks import sink_class
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan
from transforms.block import Block

EVENTS: list[tuple[str, str]] = []
LOCK = threading.Lock()


def log(event: str, split: str) -> None:
    with LOCK:
        EVENTS.append((event, split))


def read(index: int) -> Iterator[Block]:
    """Three blocks of a split, one row of which failed."""
    log("read", f"{index:05d}")
    yield block(index, [0, 1])
    yield block(index, [2], [failure(3)])
    yield block(index, [], total=4, run_info={"process": "p"})


def logged(record: dict[str, Any]) -> dict[str, Any]:
    log("committed", record["split"])
    return record


class Forget(beam.DoFn):
    """Loses the last block of split 1."""

    def process(self, element: Block) -> Iterator[Block]:
        if element.split.index != 1 or not element.is_last:
            yield element


def run(folder: str, splits: int, workers: int = 1, step: beam.DoFn | None = None) -> None:
    commit = CommitDoFn(folder, sink_class("parquet")(), INPUT_SCHEMA)
    options = PipelineOptions(runner="FnApiRunner", direct_num_workers=workers)
    with beam.Pipeline(options=options) as pipeline:
        blocks = (
            pipeline | beam.Create(range(splits)) | beam.Reshuffle() | beam.FlatMap(read))
        if step is not None:
            blocks = blocks | beam.ParDo(step)
        _ = blocks | beam.ParDo(commit) | beam.Map(logged) | FinishJob(folder)


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    EVENTS.clear()
    folder = OutputFolder(str(tmp_path / "out"))
    folder.begin(plan(splits=5), earlier=None)
    return folder


@pytest.mark.parametrize("workers", [1, 3])
def test_a_job_commits_and_finishes_by_itself(folder: OutputFolder, workers: int) -> None:
    run(folder.path, 5, workers)
    report = json.loads(Path(folder.report).read_text())
    assert report["succeeded"]
    assert (report["rows_in"], report["predicted"], report["failed"]) == (20, 15, 5)
    assert report["workers"] == [{"process": "p"}]
    assert Path(folder.success).exists()
    for index in range(5):
        table = pq.read_table(folder.part(f"{index:05d}", "parquet"))
        assert table["_row"].to_pylist() == [0, 1, 2]
        assert set(table["_source"].to_pylist()) == {f"/in/{index}.csv"}


def test_the_first_commit_comes_before_the_last_read(folder: OutputFolder) -> None:
    run(folder.path, 5)
    kinds = [event for event, _ in EVENTS]
    assert kinds == ["read", "committed"] * 5


def test_a_job_without_splits_finishes(folder: OutputFolder) -> None:
    assert folder.begin(plan(splits=0), earlier=folder.read_plan())
    run(folder.path, 0)
    assert Path(folder.success).exists()


def test_a_split_that_never_ends_fails_the_job_and_leaves_no_part(folder: OutputFolder) -> None:
    with pytest.raises(Exception, match="end with open splits 00001") as caught:
        run(folder.path, 5, step=Forget())
    assert "must stay in one fused stage" in str(caught.value)
    assert not Path(folder.part("00001", "parquet")).exists()
    assert not Path(folder.commit("00001")).exists()
    assert not Path(folder.success).exists()
    assert not any(Path(folder.path, "_mirrorbeam", "tmp").iterdir())


def test_teardown_may_come_at_any_time_and_again(folder: OutputFolder) -> None:
    commit = CommitDoFn(folder.path, sink_class("parquet")(), INPUT_SCHEMA)
    commit.teardown()
    commit.start_bundle()
    assert list(commit.process(block(0, [0]))) == []
    commit.teardown()
    commit.teardown()
    assert not any(Path(folder.path, "_mirrorbeam", "tmp").iterdir())


def test_a_new_bundle_drops_what_a_failed_one_left(folder: OutputFolder) -> None:
    commit = CommitDoFn(folder.path, sink_class("parquet")(), INPUT_SCHEMA)
    commit.start_bundle()
    assert list(commit.process(block(0, [0, 1]))) == []
    commit.start_bundle()
    (record,) = commit.process(block(0, [0, 1], total=2))
    commit.finish_bundle()
    assert record["predicted"] == 2


def test_finishing_without_a_plan_says_so(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"the job's plan in .*plan\.json\. Received: no such file"):
        run(str(tmp_path / "none"), 1)
