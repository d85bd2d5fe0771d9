"""A job's splits, as the pipeline gets them: from the plan in the output folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from pipelines.output_folder import OutputFolder
from pipelines.splits import Split


class PlannedSplits(beam.PTransform):
    """The splits of the plan that lies in an output folder when the pipeline starts.

    They are no part of the pipeline's own graph, which runners limit to some MB: one worker
    reads them where `Create` would have the driver encode each of them.
    """

    def __init__(self, folder: str) -> None:
        """Takes the output folder."""
        super().__init__()
        self._folder = folder

    def expand(self, begin: Any) -> Any:
        """Adds the reading of the plan; the splits are not spread over workers yet."""
        return begin | beam.Impulse() | beam.ParDo(_ReadPlanDoFn(self._folder))


class _ReadPlanDoFn(beam.DoFn):
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, _: bytes) -> Iterator[Split]:
        yield from OutputFolder(self._folder).require_plan().splits
