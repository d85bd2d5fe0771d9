"""Which files are looked into to find an input's columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from pipelines.splits import InputFile

_SAMPLED_FILES = 3
_TRIED_FILES = 16

_Sample = TypeVar("_Sample", bound=Sequence[object])


class Samples(NamedTuple, Generic[_Sample]):
    """What some files begin with.

    Attributes:
      by_path: samples that are not empty, in the order of the files.
      is_empty: whether every file was looked into, and none holds anything.
    """

    by_path: dict[str, _Sample]
    is_empty: bool


def sample_files(
    files: Sequence[InputFile], first_of: Callable[[str], _Sample | None]
) -> Samples[_Sample]:
    """Samples the first, middle and last file; others where these give nothing.

    Args:
      files: all files; those of no size are passed over.
      first_of: what a file, given by path, begins with; empty where it holds nothing, None
        where what it holds cannot be read.
    """
    filled = [file.path for file in files if file.size_bytes]
    if not filled:
        return Samples({}, is_empty=True)
    spread = [filled[0], filled[len(filled) // 2], filled[-1], *filled[:_TRIED_FILES]]
    found: dict[str, _Sample] = {}
    holds_nothing = 0
    for path in dict.fromkeys(spread):
        sample = first_of(path)
        if sample:
            found[path] = sample
        elif sample is not None:
            holds_nothing += 1
        if len(found) == _SAMPLED_FILES:
            break
    ordered = {path: found[path] for path in sorted(found, key=filled.index)}
    return Samples(ordered, is_empty=holds_nothing == len(filled))
