"""A line in the log now and then: how far the splits of this process are."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

_LOG = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class ProgressDoFn(beam.DoFn):
    """Passes commit records on and logs, at most every ten seconds, what they add up to.

    Counts are those of one instance, since the last line: the truth is in the commit records.
    """

    def __init__(self, splits: int) -> None:
        """Takes the number of splits in the plan."""
        self._splits = splits

    def setup(self) -> None:
        """Starts to count."""
        self._committed = self._rows = 0
        self._since = time.monotonic()

    def process(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yields the record."""
        self._committed += 1
        self._rows += record["rows_in"]
        seconds = time.monotonic() - self._since
        if seconds >= _SECONDS_BETWEEN_LINES:
            _LOG.info(
                "committed %d of %d splits here, %d rows/s in the last %.0f s",
                self._committed, self._splits, self._rows / seconds, seconds,
            )  # fmt: skip
            self._rows = 0
            self._since = time.monotonic()
        yield record
