"""Whether an output folder and the inputs get into each other's way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from pipelines import storage

_GLOB = re.compile(r"[*?\[]")


def overlap(output: str, inputs: Iterable[str], part_names: Iterable[str]) -> str | None:
    """Says how the output is, contains or lies under an input; None where they are apart.

    Args:
      output: the output folder.
      inputs: files, folders or globs as Beam reads them: `*` stays in a folder, `**` does not.
      part_names: names of files that will be written directly to the output folder.
    """
    folder = _normal(output)
    parts = [f"{folder}/{name}" for name in part_names]
    for given in inputs:
        glob = _GLOB.search(given)
        if glob is None:
            path = _normal(given)
            if path == folder:
                return f"the output is the input {given}"
            if _is_under(path, folder):
                return f"the output contains the input {given}"
            if _is_under(folder, path):
                return f"the output lies under the input {given}"
            continue
        base, slash, first = given[: glob.start()].rpartition("/")
        base = _normal(base or ("/" if slash else "."))
        if base == folder or _is_under(base, folder):
            return f"the output contains the input {given}"
        pattern = re.compile(_regex(f"{base.rstrip('/')}/{first}{given[glob.start():]}"), re.DOTALL)
        if any(pattern.fullmatch(path) for path in [*_ancestors(folder), folder, *parts]):
            return f"the output lies under the input {given}"
    return None


def _normal(path: str) -> str:
    if storage.is_local(path):
        return os.path.realpath(path)
    return path.rstrip("/")


def _is_under(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _ancestors(path: str) -> list[str]:
    return [path[: match.start()] for match in re.finditer("/", path)]


def _regex(glob: str) -> str:
    """A glob of Beam's filesystems as a regular expression over whole paths."""
    tokens = re.findall(r"\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|.", glob, re.DOTALL)
    kinds = {"**": ".*", "*": "[^/]*", "?": "."}
    return "".join(
        kinds.get(token)
        or (f"[{token[1:].replace('!', '^', 1) if token[1] == '!' else token[1:]}"
            if len(token) > 2 else re.escape(token))
        for token in tokens)
