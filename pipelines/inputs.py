"""From globs, files and folders on any Beam filesystem to the files of one format."""

from __future__ import annotations

import functools
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pipelines import storage
from pipelines.file_names import is_utf8
from pipelines.sources import SOURCE_NAMES, source_class
from pipelines.sources.base import InputError
from pipelines.splits import InputFile, bare_name

_LOG = logging.getLogger(__name__)

_WILDCARD = re.compile(r"[*?\[]")
_HIDDEN = ("_", ".")
_NAMED_FILES = 3


class _Match(NamedTuple):
    """A file, and whether it was found by its folder rather than by a name or glob."""

    file: InputFile
    is_in_folder: bool


def input_patterns(given: Sequence[str]) -> tuple[str, ...]:
    """The single globs, files and folders among comma-separated ones.

    A local path that exists is one, whatever commas it has.
    """
    patterns: list[str] = []
    for item in given:
        is_path = storage.is_local(item) and os.path.exists(item)
        patterns += [item] if is_path else filter(None, map(str.strip, item.split(",")))
    return tuple(dict.fromkeys(patterns))


def match_files(given: Sequence[str], input_format: str = "auto") -> tuple[str, list[InputFile]]:
    """Finds the files that an input means, and their format.

    A folder means the files of the format in it and below, a glob or a path what it matches.
    In folders and behind wildcards, names that start with `_` or `.` are passed over, so that
    a finished job's output can be an input.

    Args:
      given: globs, files and folders, several in one string with commas between them.
      input_format: a source's name, or `auto` to go by the suffixes.

    Returns:
      The source's name, and the files sorted by path, each once however it was written; links
      to a file are files of their own.

    Raises:
      InputError: a part of the input matches nothing, the suffixes tell no single format, or
        the name of a file is no text.
    """
    by_place: dict[str, _Match] = {}
    place_of = _places()
    for pattern in input_patterns(given):
        for match in _match(pattern):
            by_place.setdefault(place_of(match.file.path), match)
    matches = sorted(by_place.values(), key=lambda match: match.file.path)
    name = _format_of(matches) if input_format == "auto" else input_format
    files = _of_format(matches, name)
    unwritable = [file.path for file in files if not is_utf8(file.path)]
    if unwritable:
        raise InputError(
            "expected input files whose names are UTF-8, since every row tells its file. "
            f"Received: {_listed([ascii(path) for path in unwritable])}. Rename them."
        )
    if not files:
        received = _listed([match.file.path for match in matches])
        raise InputError(
            f"expected {name} files, with suffix {' '.join(source_class(name).suffixes)}, in "
            f"{' '.join(given)}. Received: {received}. Correct --input or "
            "--input_format, or pass a glob of the files, such as folder/*."
        )
    return name, files


def _places() -> Callable[[str], str]:
    """What is the same for all paths of one file: `data/a`, `./data/a`, `link_to_data/a`."""
    folder_of = functools.cache(os.path.realpath)

    def place(path: str) -> str:
        if not storage.is_local(path):
            return path
        folder, name = os.path.split(path)
        return os.path.join(folder_of(folder or "."), name)

    return place


def _match(pattern: str) -> list[_Match]:
    try:
        found = list(_files(pattern))
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected an input that can be listed. Received: {pattern} ({error}). Check the "
            "path, its permissions and that the extra for its filesystem is installed."
        ) from error
    if not found:
        raise InputError(
            f"expected an input that matches files. Received: {pattern}, which matches none. "
            "Correct --input: a file, a folder, or a glob where * stays in a folder and ** "
            "does not."
        )
    return found


def _files(pattern: str) -> Iterator[_Match]:
    if storage.is_local(pattern):
        if os.path.isfile(pattern):
            yield _Match(_local_file(pattern, os.stat(pattern)), False)
            return
        if os.path.isdir(pattern):
            for file in _local_files(pattern):
                yield _Match(file, True)
            return
    # Beam takes a slash at the end for everything directly below.
    named = [] if pattern.endswith("/") else list(_visible(pattern, _listing(pattern)))
    for file in named:
        yield _Match(file, False)
    if not named:
        # On object stores a folder is only a prefix of names, and globs match no folders.
        below = f"{pattern.rstrip('/')}/**"
        for file in _visible(below, _listing(below)):
            yield _Match(file, True)


def _local_file(path: str, status: os.stat_result) -> InputFile:
    if not stat.S_ISREG(status.st_mode):
        # Opening a pipe would wait for ever.
        raise OSError(f"{path} is neither a file nor a folder")
    return InputFile(path, status.st_size, status.st_mtime_ns)


def _local_files(folder: str) -> Iterator[InputFile]:
    below = [folder]
    while below:
        with os.scandir(below.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(_HIDDEN):
                    continue
                if not entry.is_dir():
                    yield _local_file(entry.path, entry.stat())
                elif not entry.is_symlink():
                    below.append(entry.path)


def _listing(pattern: str) -> Iterator[InputFile]:
    from apache_beam.io.filesystems import FileSystems

    for metadata in FileSystems.match([pattern])[0].metadata_list:
        # An empty object whose name ends with a slash stands for a folder.
        if metadata.path.endswith("/"):
            continue
        if storage.is_local(metadata.path):
            # Beam's time has fewer digits, and a folder's file must equal a glob's.
            yield _local_file(metadata.path, os.stat(metadata.path))
        else:
            modified_ns = round(metadata.last_updated_in_seconds * 1e9) or None
            yield InputFile(metadata.path, metadata.size_in_bytes, modified_ns)


def _visible(pattern: str, files: Iterator[InputFile]) -> Iterator[InputFile]:
    """The files without those that a wildcard found under a hidden name."""
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        yield from files
        return
    fixed = pattern[: wildcard.start()].rpartition("/")[0]
    if pattern.rpartition("/")[2].startswith(_HIDDEN):
        yield from files
        return
    for file in files:
        names = file.path[len(fixed) :].lstrip("/").split("/")
        if not any(name.startswith(_HIDDEN) for name in names):
            yield file


def _format_of(matches: Sequence[_Match]) -> str:
    """The format that the files' suffixes tell."""
    first: dict[str, str] = {}
    unknown: list[str] = []
    for file, is_in_folder in matches:
        name = _format_by_suffix(file.path)
        if name is not None:
            first.setdefault(name, file.path)
        elif not is_in_folder:
            unknown.append(file.path)
    if len(first) == 1 and not unknown:
        return next(iter(first))
    if unknown or not first:
        received = _listed(unknown or [match.file.path for match in matches])
        raise InputError(
            f"expected files whose suffixes tell their format. Received: {received}. "
            f"Pass --input_format, one of {', '.join(SOURCE_NAMES)}."
        )
    received = ", ".join(f"{name} ({path})" for name, path in first.items())
    raise InputError(
        f"expected files of one format. Received: {received}. Pass --input_format, or a glob "
        "of the files wanted."
    )


def _of_format(matches: Sequence[_Match], name: str) -> list[InputFile]:
    """The files that were named, and in folders those of the format.

    Where a folder has none with a suffix of the format, those count that have no other's:
    TFRecords often have no suffix at all.
    """
    by_suffix = {match.file.path: _format_by_suffix(match.file.path) for match in matches}
    wanted = name if name in by_suffix.values() else None
    files = [
        file for file, is_in_folder in matches if not is_in_folder or by_suffix[file.path] == wanted
    ]
    if len(files) < len(matches):
        _LOG.info("%d files of other formats are left out", len(matches) - len(files))
    return files


def _format_by_suffix(path: str) -> str | None:
    name = bare_name(path)
    for source in SOURCE_NAMES:
        if name.endswith(source_class(source).suffixes):
            return source
    return None


def _listed(paths: Sequence[str]) -> str:
    if not paths:
        return "no file"
    more = f" and {len(paths) - _NAMED_FILES} more" if len(paths) > _NAMED_FILES else ""
    return ", ".join(paths[:_NAMED_FILES]) + more
