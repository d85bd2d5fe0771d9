"""A defect of a file of one format, and what has to become of it."""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bad_input.outcomes import Impossible, Outcome, PassedOver, Refused

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


def cases_out_of_reach(sound: bytes, *, folder: Outcome, gone: Outcome) -> tuple[Case, ...]:
    """Files that cannot be opened, which is much the same for all formats.

    Args:
      sound: a whole file of the format.
      folder: what becomes of a file in whose place there is a folder once the job is planned.
      gone: what becomes of one that is not there any more by then.
    """
    unreadable, link = "unreadable file", "symlink loop"
    return (
        Case(
            unreadable,
            "a folder has taken its place since the plan",
            writing(sound),
            folder,
            spoil=_become_folder,
        ),
        Case(unreadable, "gone since the plan", writing(sound), gone, spoil=Path.unlink),
        Case(
            unreadable,
            "an empty folder of its name",
            Path.mkdir,
            PassedOver(),
            Refused("which matches none"),
        ),
        Case(unreadable, "a named pipe", os.mkfifo, Refused("is neither a file nor a folder")),
        Case(
            link,
            "a link to a file that is gone",
            lambda path: path.symlink_to("gone"),
            Refused("No such file or directory"),
        ),
        Case(
            link,
            "a link to itself",
            loop,
            Refused("Too many levels of symbolic links"),
        ),
    )


def loop(path: Path) -> None:
    """A symbolic link to itself."""
    path.symlink_to(path.name)


def _become_folder(path: Path) -> None:
    """Not even root can read it then."""
    path.unlink()
    path.mkdir()


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
