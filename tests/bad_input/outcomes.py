"""What becomes of a damaged file: the words in which cases declare it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


class Failed(NamedTuple):
    """A failure record: its `_row`, `_stage` and `_error`, and a part of its `_message`."""

    row: int
    stage: str
    error: str
    message: str


@dataclasses.dataclass(frozen=True)
class Scored:
    """The job is done: rows of the file that are scored, by `_row`, and its failure records."""

    rows: tuple[int, ...]
    failed: tuple[Failed, ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.rows:
            parts.append(f"{_rows(self.rows)} scored")
        by_reason: dict[tuple[str, str, str], list[int]] = {}
        for row, *reason in self.failed:
            by_reason.setdefault((reason[0], reason[1], reason[2]), []).append(row)
        parts += [
            f"{_rows(rows)} failed: {stage}, `{error}`, “{message}”"
            for (stage, error, message), rows in by_reason.items()
        ]
        return "; ".join(parts) or "no rows"


@dataclasses.dataclass(frozen=True)
class Refused:
    """Exit code 2 before anything runs, with a message that has this part."""

    message: str

    def __str__(self) -> str:
        return f"exit 2: “{self.message}”"


@dataclasses.dataclass(frozen=True)
class Stopped:
    """The job fails with this error, exit code 1; what was committed stays."""

    error: str

    def __str__(self) -> str:
        return f"exit 1: `{self.error}`"


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """There is no such file for the job."""

    def __str__(self) -> str:
        return "passed over"


@dataclasses.dataclass(frozen=True)
class Impossible:
    """The format cannot have this defect."""

    reason: str


Outcome = Scored | Refused | Stopped | PassedOver | Impossible


def _rows(rows: tuple[int, ...] | list[int]) -> str:
    listed = ", ".join(map(str, rows))
    return f"row {listed}" if len(rows) == 1 else f"rows {listed}"
