"""The unit of work, of commit and of resume: a part of the input."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

# What shards and compressed files have behind the suffix of their format.
_SHARD = re.compile(r"-[0-9]{3,}-of-[0-9]{3,}")
_COMPRESSION = re.compile(r"\.(gz|gzip|zlib|zz|z|deflate)$")


@dataclasses.dataclass(frozen=True)
class InputFile:
    """One matched file, as it was when the job was planned.

    Attributes:
      modified_ns: when it was last written, in nanoseconds since 1970; None where its filesystem
        does not tell. A file of another time is taken for another file.
    """

    path: str
    size_bytes: int
    modified_ns: int | None = None


def bare_name(path: str) -> str:
    """A file's name in lower case, up to and with the suffix that tells its format."""
    name = path.rpartition("/")[2].lower()
    return _COMPRESSION.sub("", _SHARD.sub("", name))


@dataclasses.dataclass(frozen=True)
class Split:
    """A part of the input that one worker reads, scores and commits as a whole.

    Attributes:
      index: position in the plan; names the output part.
      files: what it reads from. More than one only where a file is a row (images).
      start: first row group, record byte or file of the source that it covers.
      stop: end of that range, exclusive; ``None`` means to the end.
      first_row: what ``_row`` counts from.
      size_bytes: input bytes it covers, about.
      byte_rows: ``_row`` does not count: it is the byte at which a record starts in its file,
        uncompressed. So in every split of a job that cuts a file into byte ranges.
      digits: of the numbers in the names of all splits, so that names sort as splits do.
      file_bytes: size of its one file when the job was planned; None where that is not compared.
      modified_ns: when that file was last written, as of an `InputFile`.
    """

    index: int
    files: tuple[str, ...]
    start: int = 0
    stop: int | None = None
    first_row: int = 0
    size_bytes: int = 0
    byte_rows: bool = False
    digits: int = 5
    file_bytes: int | None = None
    modified_ns: int | None = None

    @property
    def name(self) -> str:
        """The split's number as it stands in file names."""
        return f"{self.index:0{self.digits}d}"

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values, for ``plan.json``."""
        values = vars(self) | {"files": list(self.files)}
        if self.file_bytes is None:
            # Plans from before these fields keep their id, by which their commits count.
            del values["file_bytes"], values["modified_ns"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Split:
        """The inverse of ``to_json``.

        Raises:
          ValueError: its number is none. Names of files are made from it.
        """
        split = cls(**(values | {"files": tuple(values["files"])}))
        if not _is_number(split.index) or not _is_number(split.digits) or split.digits > 19:
            raise ValueError(
                f"expected a split's index and digits as numbers. Received: {split.index!r} and "
                f"{split.digits!r}")
        return split


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def numbered(splits: Sequence[Split]) -> tuple[Split, ...]:
    """The splits of one plan with names of one length, five digits or more."""
    digits = len(str(max(0, len(splits) - 1)))
    if all(split.digits >= digits for split in splits):
        return tuple(splits)
    return tuple(dataclasses.replace(split, digits=digits) for split in splits)


def whole_files(files: Sequence[InputFile]) -> tuple[Split, ...]:
    """One split a file, for formats that are not cut inside of one."""
    return tuple(
        Split(index, (file.path,), size_bytes=file.size_bytes) for index, file in enumerate(files)
    )
