"""The end of the pipeline: blocks become committed splits, and these a finished job."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipelines.commits import SplitCommitter
from pipelines.finish import finish_job
from pipelines.output_folder import OutputFolder
from pipelines.retrying import outages_named
from pipelines.sinks.base import Sink
from pipelines.sources.origins import Origin, no_origin
from pipelines.splits import Split
from transforms.block import Block
from transforms.engine.stage_times import STAGE_TIMES, WRITE


class CommitDoFn(beam.DoFn):
    """Commits the splits of a bundle; gives each one's commit record.

    It must be fused to the transform that reads: a split that is open where a bundle ends
    is an error, and leaves no part.
    """

    def __init__(
        self,
        folder: str,
        sink: Sink,
        input_schema: pa.Schema,
        provenance: bool = True,
        job: str = "",
        plan_id: str | None = None,
        origin: Callable[[Split], Origin | None] = no_origin,
    ) -> None:
        """Takes what `SplitCommitter` takes, with the folder's path, and the run's own name."""
        self._plan_id = plan_id
        self._folder = folder
        self._sink = sink
        self._input_schema = input_schema
        self._provenance = provenance
        self._job = job
        self._origin = origin
        self._committer: SplitCommitter | None = None

    def start_bundle(self) -> None:
        """Drops what a failed bundle left in this instance."""
        self.teardown()
        self._committer = SplitCommitter(
            OutputFolder(self._folder), self._sink, self._input_schema, self._provenance,
            functools.partial(STAGE_TIMES.describe, self._job), self._plan_id,
            origin=self._origin)

    def process(self, block: Block) -> Iterator[dict[str, Any]]:
        """Takes a block; a split's last one gives the split's commit record."""
        assert self._committer is not None
        with STAGE_TIMES.stage(WRITE), outages_named():
            record = self._committer.add(block)
        if record is not None:
            yield record

    def finish_bundle(self) -> None:
        """Fails where a split is still open."""
        assert self._committer is not None
        self._committer.require_all_committed()

    def teardown(self) -> None:
        """Deletes files of splits that were not committed."""
        if self._committer is not None:
            self._committer.abandon()


class FinishDoFn(beam.DoFn):
    """Finishes the job when all its splits are committed; gives the report."""

    def __init__(self, folder: str, plan_id: str | None = None) -> None:
        """Takes the output folder, and which plan must be there."""
        self._folder = folder
        self._plan_id = plan_id

    def process(self, element: tuple[Any, Iterable[Any]]) -> Iterator[dict[str, Any]]:
        """Takes the one group of all commits; what counts is on disk, not in it."""
        with outages_named():
            folder = OutputFolder(self._folder)
            plan = folder.require_plan(self._plan_id)
            report = finish_job(plan, folder, self._plan_id)
        yield report


class FinishJob(beam.PTransform):
    """Commit records in, one report out, written to the folder with `_SUCCESS` last.

    It runs on the workers, so that a job nobody waits for finishes by itself, and also
    where the job has no split at all.
    """

    def __init__(self, folder: str, plan_id: str | None = None) -> None:
        """Takes the output folder, and which plan must be there when all is done."""
        super().__init__()
        self._folder = folder
        self._plan_id = plan_id

    def expand(self, commits: Any) -> Any:
        """Groups all commits into one element, which comes when the last is done."""
        start = commits.pipeline | "Start" >> beam.Create([(None, None)])
        names = commits | "Name" >> beam.Map(lambda record: (None, record["split"]))
        return (
            (start, names)
            | "All" >> beam.Flatten()
            | "Wait" >> beam.GroupByKey()
            | "Finish" >> beam.ParDo(FinishDoFn(self._folder, self._plan_id))
        )
