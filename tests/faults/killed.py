"""Runs `mirrorbeam` in this process until it reaches a point, and kills it there.

    python -m tests.faults.killed POINT NTH BEGUN score --model …

What runs is the product itself; at the point's NTH time the process sends itself SIGKILL.
The file BEGUN gets a line for each split that it begins to read.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

# By point: a file of the output folder that is about to appear, or has appeared.
FILES = {
    "plan": "*/_mirrorbeam/plan.json",
    "inputs": "*/_mirrorbeam/inputs.json",
    "run": "*/_mirrorbeam/runs/*.json",
    "failed part": "*/_mirrorbeam/failed/part-*.parquet",
    "part": "*/out/part-*.parquet",
    "record": "*/_mirrorbeam/commits/*.json",
    "report": "*/_mirrorbeam/report.json",
    "success": "*/_SUCCESS",
}


class Fuse:
    """Burns a little each time it is lit; at the last it kills the process."""

    def __init__(self, times: int) -> None:
        self._left = times

    def burn(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, fuse: Fuse) -> None:
    """Makes the product burn the fuse whenever it comes to the point."""
    when, _, name = point.partition(" ")
    if name in FILES:
        _arm_files(FILES[name], when, fuse)
    elif point == "after reading":
        _arm_reading(fuse)
    elif point == "after predicting":
        _arm_predicting(fuse)
    elif point == "while deleting":
        _arm_deleting(fuse)
    else:
        raise ValueError(f"expected a known point. Received: {point!r}")


def _arm_files(pattern: str, when: str, fuse: Fuse) -> None:
    from pipelines import storage

    def around(call: Callable[..., Any], path_of: Callable[..., str]) -> Callable[..., Any]:
        def call_and_burn(*arguments: Any) -> Any:
            matches = fnmatch.fnmatch(path_of(*arguments), pattern)
            if matches and when == "before":
                fuse.burn()
            result = call(*arguments)
            if matches and when == "after":
                if hasattr(result, "close"):
                    result.close()
                fuse.burn()
            return result

        return call_and_burn

    storage.replace = around(storage.replace, lambda source, target: target)
    storage.link = around(storage.link, lambda source, target: target)
    storage.create = around(storage.create, lambda path: path)


def note_begun(path: str) -> None:
    """Writes down which splits are begun."""
    from pipelines.read_stage import ReadDoFn

    process = ReadDoFn.process

    def note_and_read(self: ReadDoFn, split: Any) -> Iterator[Any]:
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{split.name}\n")
        yield from process(self, split)

    ReadDoFn.process = note_and_read


def _arm_reading(fuse: Fuse) -> None:
    from pipelines.read_stage import ReadDoFn

    process = ReadDoFn.process

    def read_and_burn(self: ReadDoFn, split: Any) -> Iterator[Any]:
        yield from process(self, split)
        fuse.burn()

    ReadDoFn.process = read_and_burn


def _arm_predicting(fuse: Fuse) -> None:
    from pipelines.commits import SplitCommitter

    add = SplitCommitter.add

    def burn_and_add(self: SplitCommitter, block: Any) -> Any:
        if block.rows_in_split is not None:
            fuse.burn()
        return add(self, block)

    SplitCommitter.add = burn_and_add


def _arm_deleting(fuse: Fuse) -> None:
    remove = os.remove

    def burn_and_remove(path: Any) -> None:
        fuse.burn()
        remove(path)

    os.remove = burn_and_remove


if __name__ == "__main__":
    arm(sys.argv[1], Fuse(int(sys.argv[2])))
    note_begun(sys.argv[3])
    from pipelines.cli import main

    sys.exit(main(sys.argv[4:]))
