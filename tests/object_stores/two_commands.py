"""Two commands of one job on one folder of a bucket; the first is stopped at a random moment.

Then it is woken while the other is at work, or killed. As a program it is such a command:

    python -m tests.object_stores.two_commands score --model …
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines import storage
from tests.faults.kill_points import ROOT, Job
from tests.object_stores.emulators import Store

SPLITS = 6
_WAIT_SECONDS = 300.0
# Each look makes a client, which is work; the moment itself is random besides.
_LOOK_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Round:
    """How two commands came through.

    Attributes:
      stopped_at: splits that were committed when the first was stopped.
      ended_at: the same when it was woken or killed.
      codes: exit codes of the first and the second; the first's is that of the signal if killed.
      rows_lost: input rows without a prediction or a failure in the end.
      rows_doubled: rows with more than one.
      said: what both said.
    """

    stopped_at: int
    ended_at: int
    codes: tuple[int, int]
    rows_lost: int
    rows_doubled: int
    said: str


class BucketJob(Job):
    """A job whose input, model and output are in a bucket."""

    def __init__(self, store: Store, folder: Path, splits: int = SPLITS) -> None:
        """Makes the files in an empty local folder, and uploads them to one of its name."""
        super().__init__(folder, splits)
        self._store = store
        for path in [folder / "mlp.keras", *(folder / "in").iterdir()]:
            store.write(self._name(path), path.read_bytes())

    def arguments(self, *flags: str) -> list[str]:
        """Of `mirrorbeam`."""
        given = super().arguments(*self._store.flags, *flags)
        local = f"{self.folder}/"
        return [
            self._store.path(self._name(Path(argument))) if argument.startswith(local) else argument
            for argument in given
        ]

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Starts the command; what it says is in a file of the name given."""
        with (self.folder / f"{name}.txt").open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.object_stores.two_commands", *self.arguments()],
                cwd=ROOT, env=os.environ | self._store.environment | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip

    def commits(self) -> int:
        """How many records there are."""
        return len(storage.sizes_in(self._store.path(
            self._name(self.out / "_mirrorbeam/commits"))))

    def fetch(self) -> None:
        """Copies the output to where it would be of a local job."""
        self._store.fetch(self._name(self.out), self.out)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder.parent).as_posix()


def play(store: Store, folder: Path, chance: random.Random, killed: bool) -> Round:
    """One round in an empty local folder, and one of its name in the bucket.

    Args:
      store: where.
      folder: for what the commands say, and a copy of the output.
      chance: decides on the moments.
      killed: whether the first command is killed where it was stopped, else woken.
    """
    job = BucketJob(store, folder)
    first = job.start("first")
    second = job.start("second") if chance.random() < 0.5 else None
    try:
        _wait(first, _moment(job, chance, 1))
        first.send_signal(signal.SIGSTOP)
        stopped_at = job.commits()
        if second is None:
            second = job.start("second")
        _wait(second, _moment(job, chance, max(1, stopped_at)))
        ended_at = job.commits()
        first.send_signal(signal.SIGKILL if killed else signal.SIGCONT)
        codes = first.wait(_WAIT_SECONDS), second.wait(_WAIT_SECONDS)
    finally:
        # Of ended ones this does nothing.
        first.kill()
        if second is not None:
            second.kill()
    said = "\n--\n".join((folder / f"{name}.txt").read_text() for name in ("first", "second"))
    assert 0 in codes, said
    job.fetch()
    assert len(job.committed()) == job.splits
    lost, doubled = job.wrong_rows()
    job.require_clean()
    return Round(stopped_at, ended_at, codes, lost, doubled, said)


def _moment(job: BucketJob, chance: random.Random, after: int) -> Callable[[], bool]:
    """What to wait for: so many commits as `after` or some more, and a little time."""
    commits, pause = chance.randint(min(after, job.splits), job.splits), chance.uniform(0, 1)

    def is_come() -> bool:
        if job.commits() < commits:
            return False
        time.sleep(pause)
        return True

    return is_come


def _wait(process: subprocess.Popen[bytes], is_come: Callable[[], bool]) -> None:
    while process.poll() is None and not is_come():
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    from apache_beam.internal.gcp import auth

    from pipelines.cli import main

    # Beam would look for credentials for half a minute.
    auth._Credentials._credentials_init = True
    sys.exit(main(sys.argv[1:]))
