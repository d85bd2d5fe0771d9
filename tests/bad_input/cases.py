"""A defect of a file of one format, and what has to become of it."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bad_input.outcomes import Impossible, Outcome

# In the order of the page; every format has a case of each.
DEFECTS = (
    "truncated",
    "bit flips",
    "wrong magic",
    "wrong type",
    "null",
    "NaN",
    "wrong length",
    "over-large length field",
    "bomb",
    "invalid UTF-8",
    "duplicate columns",
    "missing columns",
    "schema that changes between files",
    "empty file",
    "unreadable file",
    "symlink loop",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One defect.

    Attributes:
      defect: one of `DEFECTS`; several cases may share it.
      holds: what the damaged file is, for the page.
      make: writes it.
      beside: what becomes of it between two sound files, whose rows must all be scored if the
        outcome is `Scored` or `PassedOver`.
      alone: where it is the only file; None for the same.
      spoil: does something to it after the job was planned.
      source: attributes of the source, as its flags set them.
    """

    defect: str
    holds: str
    make: Callable[[Path], object]
    beside: Outcome
    alone: Outcome | None = None
    spoil: Callable[[Path], object] | None = None
    source: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def only(self) -> Outcome:
        """What becomes of it where it is the only file."""
        return self.beside if self.alone is None else self.alone


def impossible(defect: str, reason: str) -> Case:
    """A case that there is not."""
    return Case(defect, "", lambda path: None, Impossible(reason))


def become_folder(path: Path) -> None:
    """Puts a folder in the place of a file: not even root can read it."""
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    """A symbolic link to itself."""
    path.symlink_to(path.name)


def dangle(path: Path) -> None:
    """A symbolic link to a file that is not there."""
    path.symlink_to("gone")


def no_bytes(path: Path) -> None:
    """An empty file."""
    path.touch()


def stored_gzip(data: bytes) -> bytes:
    """The data as gzip without compression: each of its bytes stands there, from byte 15 on."""
    return gzip.compress(data, compresslevel=0, mtime=0)


def writing(content: bytes) -> Callable[[Path], object]:
    """Writes these bytes."""
    return lambda path: path.write_bytes(content)


def flipped(data: bytes, *positions: int) -> bytes:
    """The data with bytes inverted."""
    changed = bytearray(data)
    for position in positions:
        changed[position] ^= 0xFF
    return bytes(changed)
