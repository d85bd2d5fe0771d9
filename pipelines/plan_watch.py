"""Whether an output folder on a local disk is still the job's, asked for each of its splits."""

from __future__ import annotations

import functools
import os

from pipelines.output_folder import OutputFolder


def require_plan_unchanged(folder: OutputFolder, plan_id: str) -> None:
    """Fails where another job began in the folder meanwhile.

    Raises:
      OutputError: its plan is another one, or gone.
    """
    try:
        state = os.stat(folder.plan)
    except FileNotFoundError:
        folder.require_plan(plan_id)
        raise
    _require_plan(folder.path, plan_id, (state.st_ino, state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=8)
def _require_plan(folder: str, plan_id: str, state: tuple[int, ...]) -> None:
    """Reads a plan once for each state of its file: it may have a hundred thousand splits."""
    del state
    OutputFolder(folder).require_plan(plan_id)
