"""The start of the pipeline: splits become blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam

from pipelines.sources.base import Source
from pipelines.splits import Split
from transforms.block import Block


class ReadDoFn(beam.DoFn):
    """Reads splits; a row that cannot be read travels on as a failure."""

    def __init__(self, source: Source) -> None:
        """Takes a prepared source."""
        self._source = source

    def process(self, split: Split) -> Iterator[Block]:
        """Yields a split's blocks in order."""
        yield from self._source.read(split)
