"""From globs and folders to the files of one format."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipelines import storage
from pipelines.errors import CommandError
from pipelines.sources import SOURCE_NAMES, source_class
from pipelines.splits import InputFile

_COMPRESSIONS = (".gz", ".gzip", ".zlib", ".z")
_GLOB = re.compile(r"[*?\[]")
_HIDDEN = ("_", ".")


class _Found(NamedTuple):
    file: InputFile
    in_folder: bool


def match_files(patterns: Sequence[str], input_format: str) -> tuple[str, list[InputFile]]:
    """Finds the files that an input means, and their format.

    A folder means all files of the format in it and below; a glob or a path means what it
    matches, whatever its suffix where the format is given. Files, and folders below the given
    one, whose names start with `_` or `.` count only where a path names them.

    Args:
      patterns: globs, files and folders on any Beam filesystem.
      input_format: a source's name, or `auto` to go by the suffixes.

    Returns:
      The source's name, and the files sorted by path, each once.

    Raises:
      CommandError: nothing matches, or the suffixes tell no single format.
    """
    suffixes = {name: source_class(name).suffixes for name in SOURCE_NAMES}
    found = {
        item.file.path: item for pattern in patterns for item in _match(pattern)
    }  # fmt: skip
    if input_format == "auto":
        input_format = _format_of(list(found.values()), suffixes, patterns)
    files = [
        item.file
        for item in found.values()
        if not item.in_folder or _format_by_suffix(item.file.path, suffixes) == input_format
    ]
    if not files:
        ends = ", ".join(suffixes[input_format])
        raise CommandError(
            f"expected {input_format} files ({ends}) in {' '.join(patterns)}. Received: "
            f"{_listed(list(found))}. Correct --input, or pass a glob of the files."
        )
    return input_format, sorted(files, key=lambda file: file.path)


def _match(pattern: str) -> Iterator[_Found]:
    """Everything that one pattern means, of any format.

    Raises:
      CommandError: nothing does.
    """
    nothing = True
    try:
        for found in _files(pattern):
            nothing = False
            yield found
    except (OSError, ValueError) as error:
        raise CommandError(
            f"expected an input that can be listed. Received: {pattern} ({error}). "
            "Check the path, its permissions and that the filesystem's extra is installed."
        ) from error
    if nothing:
        raise CommandError(
            f"expected files to read. Received: {pattern}, which matches none. Correct --input."
        )


def _files(pattern: str) -> Iterator[_Found]:
    from apache_beam.io.filesystems import FileSystems

    if storage.is_local(pattern) and os.path.isfile(pattern):
        yield _Found(InputFile(pattern, os.path.getsize(pattern)), False)
        return
    if storage.is_local(pattern) and os.path.isdir(pattern):
        yield from _files_below(pattern)
        return
    [matched] = FileSystems.match([pattern])
    if not matched.metadata_list and _GLOB.search(pattern) is None:
        if not storage.is_local(pattern):
            yield from _files_below(pattern)
        return
    hidden = pattern.rpartition("/")[2].startswith(_HIDDEN)
    for metadata in matched.metadata_list:
        if hidden or not metadata.path.rpartition("/")[2].startswith(_HIDDEN):
            yield _Found(InputFile(metadata.path, metadata.size_in_bytes), False)


def _files_below(folder: str) -> Iterator[_Found]:
    from apache_beam.io.filesystems import FileSystems

    root = folder.rstrip("/")
    if storage.is_local(root):
        for parent, names, files in os.walk(root):
            names[:] = [name for name in names if not name.startswith(_HIDDEN)]
            for name in files:
                path = os.path.join(parent, name)
                if not name.startswith(_HIDDEN):
                    yield _Found(InputFile(path, os.path.getsize(path)), True)
        return
    [matched] = FileSystems.match([f"{root}/**"])
    for metadata in matched.metadata_list:
        names = metadata.path[len(root) + 1 :].split("/")
        if names[-1] and not any(name.startswith(_HIDDEN) for name in names):
            yield _Found(InputFile(metadata.path, metadata.size_in_bytes), True)


def _format_of(
    found: Sequence[_Found], suffixes: Mapping[str, tuple[str, ...]], patterns: Sequence[str]
) -> str:
    formats: dict[str | None, str] = {}
    for item in found:
        name = _format_by_suffix(item.file.path, suffixes)
        if name is not None or not item.in_folder:
            formats.setdefault(name, item.file.path)
    [*names] = formats
    if len(names) == 1 and names[0] is not None:
        return names[0]
    received = ", ".join(
        f"{path} ({name or 'of no known suffix'})" for name, path in formats.items()
    ) or _listed([item.file.path for item in found])
    raise CommandError(
        f"expected files of one format in {' '.join(patterns)}. Received: {received}. "
        f"Pass --input_format, one of {', '.join(suffixes)}."
    )


def _format_by_suffix(path: str, suffixes: Mapping[str, tuple[str, ...]]) -> str | None:
    name = path.rpartition("/")[2].lower()
    for compression in _COMPRESSIONS:
        name = name.removesuffix(compression)
    for source, ends in suffixes.items():
        if name.endswith(tuple(ends)):
            return source
    return None


def _listed(paths: Sequence[str]) -> str:
    if not paths:
        return "no file"
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more
