"""The commands that worked on a job: `_mirrorbeam/runs/`, a small file for each."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import uuid
from collections.abc import Sequence
from typing import Any

from pipelines import storage
from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan
from pipelines.redaction import redacted

# What a command takes to begin again, in an outage too; and what it takes at most, with a model
# that is slow to load. Later its number may be that of another process.
_START_SECONDS, _LATE_SECONDS = 60.0, 600.0


@dataclasses.dataclass(frozen=True)
class Run:
    """One command that worked on a job, the first or one that resumed it.

    Attributes:
      name: of its file.
      started_at: seconds since 1970 when the command was given.
      arguments: its flags as plain values.
      max_failed_fraction: its limit of failed rows; that of the last run counts.
      host: where the command runs.
      pid: its process there.
      detached: the command ends while the job goes on elsewhere.
      ended_at: seconds since 1970 when it ended; None before, and if it was killed.
      exit_code: how; None before.
      again_at: seconds since 1970 when its command is to go on by itself, as another run;
        None where it does not.
      reason: why it failed, where it did so before a report was written.
    """

    name: str
    started_at: float
    arguments: dict[str, Any]
    max_failed_fraction: float
    host: str
    pid: int
    detached: bool = False
    ended_at: float | None = None
    exit_code: int | None = None
    again_at: float | None = None
    reason: str | None = None

    def is_waiting(self, now: float) -> bool:
        """Whether its command is about to go on by itself, as far as can be told.

        Told by its process, where that is on this machine; elsewhere by time alone, so that one
        that died while it waited is not waited for.
        """
        if self.again_at is None:
            return False
        if self.host != socket.gethostname():
            return now < self.again_at + _START_SECONDS
        return now < self.again_at + _LATE_SECONDS and _is_process(self.pid)

    @property
    def is_gone(self) -> bool:
        """Whether it is certain that its command works no more."""
        if self.detached:
            return False
        return self.ended_at is not None or (
            self.host == socket.gethostname() and not _is_process(self.pid))

    @property
    def is_at_work(self) -> bool:
        """Whether its process is there, on this machine."""
        here = self.host == socket.gethostname() and not self.detached
        return here and self.ended_at is None and _is_process(self.pid)


def start_run(
    folder: OutputFolder,
    arguments: dict[str, Any],
    max_failed_fraction: float,
    started_at: float,
    detached: bool,
) -> Run:
    """Notes that this process works on the folder's job."""
    run = Run(
        f"{round(started_at * 1000):013d}-{uuid.uuid4().hex[:8]}",
        started_at, arguments, max_failed_fraction, socket.gethostname(), os.getpid(), detached,
    )  # fmt: skip
    folder.write_json(folder.run(run.name), dataclasses.asdict(run))
    return run


def end_run(
    folder: OutputFolder,
    run: Run,
    ended_at: float,
    exit_code: int,
    again_at: float | None = None,
    reason: str | None = None,
) -> None:
    """Notes how a run ended, and whether its command goes on; not where the job is another's."""
    if storage.size_bytes(folder.run(run.name)) is None:
        return
    ended = dataclasses.replace(
        run, ended_at=ended_at, exit_code=exit_code, again_at=again_at,
        reason=None if reason is None else redacted(reason),
    )  # fmt: skip
    folder.write_json(folder.run(run.name), dataclasses.asdict(ended))
    folder.tidy()


def read_runs(folder: OutputFolder) -> list[Run]:
    """The runs of a folder's job, the earliest first; a file that is none is passed over."""
    runs = []
    for path in storage.sizes_in(folder.runs_folder):
        data = storage.read_bytes(path)
        try:
            runs.append(Run(**json.loads(data or b"{}")))
        except (ValueError, TypeError):
            continue
    return sorted(runs, key=lambda run: run.started_at)


def as_last_given(plan: JobPlan, runs: Sequence[Run]) -> JobPlan:
    """The plan with the arguments and the limit of the last command that worked on it."""
    if not runs:
        return plan
    return dataclasses.replace(
        plan, arguments=runs[-1].arguments, max_failed_fraction=runs[-1].max_failed_fraction
    )


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # It is another user's.
        return True
    return True
