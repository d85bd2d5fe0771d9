"""How much memory this process may still take from the host it runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_ROOT = Path("/")
# Version 1 of control groups writes the largest number of pages for "no limit".
_NO_LIMIT_BYTES = 1 << 60


class GroupMemory(NamedTuple):
    """One control group that limits the process.

    Attributes:
      limit_bytes: what all its processes may take.
      used_bytes: what they take, without file pages that the kernel may drop.
    """

    limit_bytes: int
    used_bytes: int


def free_memory_bytes(root: Path = _ROOT) -> int:
    """Bytes that the process can still get: of the host, and of every group around it.

    Args:
      root: the folder that holds `proc` and `sys`.
    """
    rooms = [max(0, group.limit_bytes - group.used_bytes) for group in limiting_groups(root)]
    return min([_available_bytes(root), *rooms])


def limiting_groups(root: Path = _ROOT) -> list[GroupMemory]:
    """The control groups with a memory limit that the process is in, innermost first.

    Both versions are read. Within a container the path of a group may be the host's, which is
    not to be seen; the mounted root is the container's own group then.
    """
    groups = []
    for folder, names in _group_folders(root):
        limit = _number(folder / names.limit)
        if limit is None or limit >= _NO_LIMIT_BYTES:
            continue
        used = _number(folder / names.used) or 0
        droppable = _entry(folder / "memory.stat", names.droppable) or 0
        groups.append(GroupMemory(limit, max(0, used - droppable)))
    return groups


class _Names(NamedTuple):
    limit: str
    used: str
    droppable: str


_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Names("memory.max", "memory.current", "inactive_file")


def _group_folders(root: Path) -> Iterator[tuple[Path, _Names]]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            mounted, names = root / "sys/fs/cgroup/memory", _V1
        elif not controllers:
            mounted, names = root / "sys/fs/cgroup", _V2
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for part in (inner, *inner.parents):
            # Above a container's own root there may be a way out of the mount: not to be followed.
            if ".." not in part.parts:
                yield mounted / part, names


def _available_bytes(root: Path) -> int:
    available = _entry(root / "proc/meminfo", "MemAvailable:")
    if available is not None:
        return available * 1024
    # Without Linux's own word: all memory that there is.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _number(path: Path) -> int | None:
    """The number that a file holds; None for `max` and where there is no such file."""
    try:
        text = path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if text == "max" else int(text)


def _entry(path: Path, name: str) -> int | None:
    """The number behind a name at the start of a line."""
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    for line in lines:
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    return None
