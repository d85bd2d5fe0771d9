"""Two commands on one folder, one of them stopped at a random moment and woken later.

    python -m tests.faults.two_commands --rounds 20 --seed 1

A stopped process is what a worker is that was taken for dead: it comes back in the middle of
what it did, knowing nothing of what the other did meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.kill_points import ROOT, Job

SPLITS = 80
# From the start of a command to its end, about; without a model to load again it is less.
SECONDS = 8.0
_WAIT_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Round:
    """How two commands came through.

    Attributes:
      stopped_at: splits that were committed when the first was stopped.
      woken_at: the same when it was woken.
      codes: exit codes of the first and the second.
      warned: whether the second said that another is at work.
      rows_lost: input rows without a prediction or a failure in the end.
      rows_doubled: rows with more than one.
      errors: what they said, where neither succeeded or one ended in an unforeseen way.
    """

    stopped_at: int
    woken_at: int
    codes: tuple[int, int]
    warned: bool
    rows_lost: int
    rows_doubled: int
    errors: str = ""


def play(folder: Path, chance: random.Random, splits: int = SPLITS) -> Round:
    """One round in an empty folder.

    Args:
      folder: where the job's files go.
      chance: decides on the moments.
      splits: of the job.
    """
    job = Job(folder, splits)
    first = _start(job, "first")
    together = chance.random() < 0.5
    second = _start(job, "second") if together else None
    try:
        _wait(first, _moment(job, chance, splits))
        stopped_at = _commits(job)
        if first.poll() is None:
            first.send_signal(signal.SIGSTOP)
        if second is None:
            second = _start(job, "second")
        if chance.random() < 0.5:
            second.wait(_WAIT_SECONDS)
        else:
            _wait(second, _moment(job, chance, splits))
        woken_at = _commits(job)
        if first.poll() is None:
            first.send_signal(signal.SIGCONT)
        codes = first.wait(_WAIT_SECONDS), second.wait(_WAIT_SECONDS)
    finally:
        # Of ended ones this does nothing.
        first.kill()
        if second is not None:
            second.kill()
    said = [(folder / f"{name}.txt").read_text() for name in ("first", "second")]
    lost, doubled = job.wrong_rows()
    fine = 0 in codes and set(codes) <= {0, 1} and "Traceback" not in "".join(said)
    job.require_clean()
    return Round(
        stopped_at, woken_at, codes, "another run of this job may still be at work" in said[1],
        lost, doubled, "" if fine and codes == (0, 0) else "\n--\n".join(said),
    )  # fmt: skip


def _start(job: Job, name: str) -> subprocess.Popen[bytes]:
    with (job.folder / f"{name}.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines", *job.arguments()], cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip


def _moment(job: Job, chance: random.Random, splits: int) -> Callable[[], bool]:
    """What to wait for: some seconds, or some commits and a little more."""
    if chance.random() < 0.4:
        end = time.monotonic() + chance.uniform(0, SECONDS)
        return lambda: time.monotonic() >= end
    commits, pause = chance.randint(0, splits), chance.uniform(0, 0.05)

    def is_come() -> bool:
        if _commits(job) < commits:
            return False
        time.sleep(pause)
        return True

    return is_come


def _wait(process: subprocess.Popen[bytes], is_come: Callable[[], bool]) -> None:
    while process.poll() is None and not is_come():
        time.sleep(0.001)


def _commits(job: Job) -> int:
    folder = job.out / "_mirrorbeam/commits"
    return len(os.listdir(folder)) if folder.is_dir() else 0


def main() -> int:
    """Plays rounds and tells of each in a line of JSON; the exit code says whether all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    wrong = 0
    for number in range(flags.rounds):
        chance = random.Random(flags.seed * 1000 + number)
        with tempfile.TemporaryDirectory() as folder:
            played = play(Path(folder), chance)
        held = not (played.rows_lost or played.rows_doubled) and 0 in played.codes
        wrong += not held
        sys.stdout.write(json.dumps({"round": number} | dataclasses.asdict(played)) + "\n")
        sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
