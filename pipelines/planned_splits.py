"""A job's splits, as the pipeline gets them: from the plan in the output folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from pipelines.commit_records import CommitError, read_commit
from pipelines.output_folder import OutputFolder
from pipelines.retrying import outages_named
from pipelines.sinks.base import Sink
from pipelines.splits import Split

_LOG = logging.getLogger(__name__)


class PlannedSplits(beam.PTransform):
    """The splits of the plan that lies in an output folder when the pipeline starts.

    They are no part of the pipeline's own graph, which runners limit to some MB: one worker
    reads them where `Create` would have the driver encode each of them.
    """

    def __init__(self, folder: str, plan_id: str | None = None) -> None:
        """Takes the output folder, and which plan must be there."""
        super().__init__()
        self._folder = folder
        self._plan_id = plan_id

    def expand(self, begin: Any) -> Any:
        """Adds the reading of the plan; the splits are not spread over workers yet."""
        return begin | beam.Impulse() | beam.ParDo(_ReadPlanDoFn(self._folder, self._plan_id))


class UncommittedDoFn(beam.DoFn):
    """Passes on the splits that are left to do.

    Each worker looks for itself, when it is about to read a split: what an earlier run
    committed is not done again, nor is what this one did before its runner started it anew.
    """

    def __init__(self, folder: str, sink: Sink, plan_id: str | None = None) -> None:
        """Takes the output folder, the format of its parts, and whose records count."""
        self._folder = folder
        self._sink = sink
        self._plan_id = plan_id

    def process(self, split: Split) -> Iterator[Split]:
        """Yields the split unless a record of it agrees with the sizes of its files."""
        try:
            with outages_named():
                record = read_commit(
                    OutputFolder(self._folder), split.name, self._sink, content=False,
                    plan_id=self._plan_id)
        except CommitError as error:
            _LOG.warning("doing split %s again: %s", split.name, error)
            record = None
        if record is None:
            yield split


class _ReadPlanDoFn(beam.DoFn):
    def __init__(self, folder: str, plan_id: str | None) -> None:
        self._folder = folder
        self._plan_id = plan_id

    def process(self, _: bytes) -> Iterator[Split]:
        with outages_named():
            plan = OutputFolder(self._folder).require_plan(self._plan_id)
        yield from plan.splits
