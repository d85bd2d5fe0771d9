"""Reads Dockerfiles, and does what the last stage of one installs without Docker.

    python -m tests.containers.dockerfiles containers/cpu.Dockerfile /tmp/cpu

copies what it copies and runs what it runs, in a new virtual environment of this Python.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import sys
import venv
from pathlib import Path
from typing import NamedTuple

from tests.processes import run_program

ROOT = Path(__file__).resolve().parents[2]

_LOG = logging.getLogger(__name__)


class Instruction(NamedTuple):
    """One instruction, its continued lines joined."""

    name: str
    text: str


def instructions(path: Path) -> list[Instruction]:
    """All instructions of a Dockerfile, in order."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name.upper(), text.strip()) for name, text in parts]


def last_stage(path: Path) -> list[Instruction]:
    """What makes the image itself: all after the last FROM."""
    found = instructions(path)
    start = max(index for index, item in enumerate(found) if item.name == "FROM")
    return found[start + 1 :]


def copied(instruction: Instruction) -> tuple[list[str], str] | None:
    """The sources and the target of a COPY from the build's context; None from a stage."""
    words = shlex.split(instruction.text)
    if instruction.name != "COPY" or words[0].startswith("--from="):
        return None
    return words[:-1], words[-1]


def install(path: Path, folder: Path) -> None:
    """Copies and runs what the last stage does, in `folder` and a virtual environment of it."""
    environment, work = folder / "venv", folder / "work"
    venv.create(environment, with_pip=True, clear=True)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    search = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for instruction in last_stage(path):
        files = copied(instruction)
        if files is not None:
            _copy(*files, work)
        elif instruction.name == "RUN":
            _LOG.info("RUN %s", instruction.text)
            command = ["/bin/sh", "-c", instruction.text]
            run_program(command, cwd=work, env=kept | {"PATH": search})


def _copy(sources: list[str], target: str, work: Path) -> None:
    for source in sources:
        path = ROOT / source
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, work / target, ignore=ignored)
        else:
            shutil.copy(path, work / target)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    install(Path(sys.argv[1]), Path(sys.argv[2]))
