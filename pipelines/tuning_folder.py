"""Found batch sizes in a job's output folder, for the job's other workers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from pipelines import storage
from pipelines.output_folder import OutputFolder

_LOG = logging.getLogger(__name__)


class OutputTuningStore:
    """One JSON file for each key in `_mirrorbeam/tuning/`, on any filesystem that Beam knows.

    Travels to the workers. A batch size is worth no job: what a filesystem raises is logged,
    and the worker searches by itself or keeps what it found to itself.
    """

    def __init__(self, output: str) -> None:
        """Takes the job's output folder."""
        self._folder = OutputFolder(output)

    def load(self, key: str) -> dict[str, Any] | None:
        """What a worker saved under the key; None without it, or where it cannot be read."""
        path = self._folder.tuning(key)
        try:
            data = storage.read_bytes(path)
            found = None if data is None else json.loads(data)
        except Exception as error:
            _LOG.warning("%s cannot be read, tuning anew: %s", path, error)
            return None
        return found if isinstance(found, dict) else None

    def save(self, key: str, found: Mapping[str, Any]) -> None:
        """Writes the file at once or not at all."""
        path = self._folder.tuning(key)
        try:
            self._folder.write_json(path, dict(found))
        except Exception as error:
            _LOG.warning("the batch size found cannot be kept in %s: %s", path, error)
