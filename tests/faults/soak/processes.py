"""What processes of this machine are there, and what they hold."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# What a process may gain from its first settled jobs to its last; memory settles slowly.
_MOST_THREADS, _MOST_FILES, _MOST_MIB, _MOST_MIB_PER_JOB = 2, 2, 20.0, 0.1
# A JVM starts its pools' threads when it first needs them; a leak is one a job, or more.
_MOST_JVM_THREADS_PER_JOB = 0.5
# Nothing is settled after fewer jobs.
_FEWEST_JOBS = 10

_HARNESS = b"apache_beam.runners.worker.sdk_worker_main"


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kills a command that leads a session, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    return any(pid == found and state != "Z" for found, _, state in _processes())


def workers_of(pid: int) -> list[int]:
    """Beam's worker processes below a command; each is the child of a shell that waits for it."""
    parents = {found: parent for found, parent, state in _processes() if state != "Z"}
    return sorted(
        found for found, parent in parents.items()
        if parents.get(parent) == pid and _HARNESS in _command(found))


def held(pid: int) -> dict[str, int]:
    """What a process holds now: resident bytes, threads, open files."""
    folder = Path("/proc") / str(pid)
    status = (folder / "status").read_text()
    threads = next(line for line in status.splitlines() if line.startswith("Threads:"))
    return {
        "bytes": int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "threads": int(threads.split()[1]),
        "files": len(os.listdir(folder / "fd")),
    }


def growth(after_each: Sequence[dict[str, int]]) -> dict[str, Any]:
    """First settled figures against the last, of fifths of the jobs, the first fifth left out.

    Memory is the median. Threads and files are the least: those of a job that has just ended
    take a moment to go.
    """
    fifth = max(1, len(after_each) // 5)
    early, late = after_each[fifth : 2 * fifth] or after_each[:1], after_each[-fifth:]

    def least(of: Sequence[dict[str, int]], name: str) -> int:
        return min(figures[name] for figures in of)

    first_mib, last_mib = (
        statistics.median(figures["bytes"] for figures in of) / 2**20 for of in (early, late))
    return {
        "jobs": len(after_each),
        "mib": [round(figures["bytes"] / 2**20) for figures in after_each],
        "mib_first": round(first_mib, 1),
        "mib_last": round(last_mib, 1),
        "mib_grown": round(last_mib - first_mib, 1),
        "threads": [figures["threads"] for figures in after_each],
        "threads_first": least(early, "threads"),
        "threads_last": least(late, "threads"),
        "files_first": least(early, "files"),
        "files_last": least(late, "files"),
    }


def is_flat(grown: dict[str, Any]) -> bool:
    """Whether a process that ran job after job kept nothing of them, or ran too few to say."""
    if grown["jobs"] < _FEWEST_JOBS:
        return True
    most_threads: float = _MOST_THREADS
    if "mib_given" in grown:
        fits = grown["mib_last"] <= grown["mib_given"]
        most_threads += _MOST_JVM_THREADS_PER_JOB * grown["jobs"]
    else:
        fits = grown["mib_grown"] <= _MOST_MIB + _MOST_MIB_PER_JOB * grown["jobs"]
    return bool(
        fits
        and grown["threads_last"] - grown["threads_first"] <= most_threads
        and grown["files_last"] - grown["files_first"] <= _MOST_FILES)


def _processes() -> Iterator[tuple[int, int, str]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(path.parent.name), int(parent), state


def _command(pid: int) -> bytes:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
