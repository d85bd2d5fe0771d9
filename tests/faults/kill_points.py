"""Kills a job at a point, looks at what it left, resumes it and compares every row."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.cli import main
from pipelines.commit_records import read_commit
from pipelines.output_folder import OutputFolder
from pipelines.sinks.parquet import ParquetSink
from tests.models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import column, read_failed, read_report, read_rows
from tests.processes import python

ROOT = Path(__file__).resolve().parents[2]

SPLITS, ROWS = 4, 40
# Smaller than a split: else the rows of many small splits wait for each other in one batch.
BATCH = 16
# In every file this row has a value too few.
BAD_ROW = 7


@dataclasses.dataclass(frozen=True)
class Point:
    """Where a job is killed.

    Attributes:
      name: as `tests.faults.killed` knows it.
      times: how often the job comes there before it dies.
      committed: splits that are committed by then; None where predictions of one split wait
        for those of the next, so that time decides.
      seen: files of the killed split that a reader may see, without a record of them.
    """

    name: str
    times: int
    committed: int | None
    seen: tuple[str, ...] = ()


FAILED, PART = "_mirrorbeam/failed/part-00001.parquet", "part-00001.parquet"

POINTS = (
    Point("before plan", 1, 0),
    Point("after plan", 1, 0),
    Point("after inputs", 1, 0),
    Point("after run", 1, 0),
    Point("after reading", SPLITS, None),
    Point("after predicting", 2, 1),
    Point("before failed part", 2, 1),
    Point("after failed part", 2, 1, (FAILED,)),
    Point("before part", 2, 1, (FAILED,)),
    Point("after part", 2, 1, (FAILED, PART)),
    Point("before record", 2, 1, (FAILED, PART)),
    Point("after record", 2, 2),
    Point("after record", SPLITS, SPLITS),
    Point("before report", 1, SPLITS),
    Point("after report", 1, SPLITS),
    Point("before success", 1, SPLITS),
    Point("after success", 1, SPLITS),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one kill cost.

    Attributes:
      point: where.
      times: how often the job came there.
      committed: splits that were committed when it died.
      redone: splits that were begun by the killed run and done again.
      rows_lost: input rows without a prediction or a failure in the end.
      rows_doubled: rows with more than one.
    """

    point: str
    times: int
    committed: int
    redone: int
    rows_lost: int
    rows_doubled: int


class Job:
    """Some files with a bad row each, a model, and the command that scores them."""

    def __init__(self, folder: Path, splits: int = SPLITS, threads: int = 1) -> None:
        """Makes the files in an empty folder.

        Args:
          folder: where.
          splits: how many files, each a split.
          threads: how many splits are read at once; with one it is known what is open when.
        """
        self.folder = folder
        self.out = folder / "out"
        self.splits = splits
        self._threads = threads
        _, self._reference = mlp_keras(folder)
        self._rows = self._reference.rows(splits * ROWS)
        for split in range(splits):
            own = slice(split * ROWS, (split + 1) * ROWS)
            features = self._rows["features"][own].tolist()
            features[BAD_ROW] = features[BAD_ROW][:-1]
            columns = {"id": np.arange(own.start, own.stop), "features": ragged(features)}
            write_parquet(folder / f"in/{split:03d}.parquet", columns)

    def arguments(self, *flags: str) -> list[str]:
        """Of `mirrorbeam`."""
        model, source = str(self.folder / "mlp.keras"), str(self.folder / "in")
        return [
            "score", "--model", model, "--input", source, "--output", str(self.out),
            "--devices", "CPU:0", "--batch_size", str(BATCH), "--max_failed_fraction", "0.1",
            "--direct_running_mode=multi_threading", f"--direct_num_workers={self._threads}",
            *flags,
        ]  # fmt: skip

    def kill(self, point: str, times: int, *flags: str) -> None:
        """Runs the command in a process that dies at a point."""
        done = python(
            "-m", "tests.faults.killed", point, str(times), str(self._begun),
            *self.arguments(*flags), check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, (done.returncode, done.stderr)

    @property
    def _begun(self) -> Path:
        return self.folder / "begun.txt"

    def begun(self) -> list[str]:
        """Splits that killed runs began to read, in order."""
        return self._begun.read_text().split() if self._begun.exists() else []

    def committed(self) -> dict[str, str]:
        """The attempt that committed each split; every record must hold."""
        folder = OutputFolder(str(self.out))
        found = {}
        for split in range(self.splits):
            record = read_commit(folder, f"{split:05d}", ParquetSink(), content=True)
            if record is not None:
                found[record["split"]] = record["attempt"]
        return found

    def visible(self) -> set[str]:
        """Files that a reader may take for output, by name."""
        places = [*self.out.glob("part-*"), *(self.out / "_mirrorbeam/failed").glob("*")]
        return {str(path.relative_to(self.out)) for path in places}

    def wrong_rows(self) -> tuple[int, int]:
        """Rows lost and rows doubled; fails where a row's values or order are wrong."""
        found = read_rows(self.out)
        ids, scores = column(found, "id"), column(found, "scores")
        expected = self._reference(self._rows)["scores"][ids]
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        bad = [row["id"] for row in read_failed(self.out)]
        both = [*ids.tolist(), *bad]
        rows = self.splits * ROWS
        lost, doubled = rows - len(set(both)), len(both) - len(set(both))
        if not lost and not doubled:
            assert ids.tolist() == [row for row in range(rows) if row % ROWS != BAD_ROW]
            assert bad == [split * ROWS + BAD_ROW for split in range(self.splits)]
        report = read_report(self.out)
        assert (report["rows_in"], report["predicted"], report["failed"]) == (
            len(both), len(ids), len(bad),
        )  # fmt: skip
        return lost, doubled

    def require_clean(self) -> None:
        """Fails where the finished job left a file that no reader needs."""
        assert (self.out / "_SUCCESS").exists()
        assert not (self.out / "_mirrorbeam/tmp").exists()
        names = {f"part-{split:05d}.parquet" for split in range(self.splits)}
        assert self.visible() == names | {f"_mirrorbeam/failed/{name}" for name in names}


def kill_and_resume(folder: Path, point: Point, resume: Sequence[str] = ()) -> Outcome:
    """Kills a new job at a point and gives the same command again.

    Args:
      folder: an empty one.
      point: where to kill it.
      resume: further flags of the second command.
    """
    job = Job(folder)
    job.kill(point.name, point.times)
    before = job.committed()
    assert point.committed in (None, len(before))
    finished = (job.out / "_SUCCESS").exists()
    assert finished == (point.name == "after success")
    uncommitted = {name for name in job.visible() if name[-13:-8] not in before}
    assert uncommitted == set(point.seen)
    assert main(job.arguments(*resume)) == 0
    after = job.committed()
    assert {split: after[split] for split in before} == before
    job.require_clean()
    redone = set(job.begun()) - set(before)
    return Outcome(point.name, point.times, len(before), len(redone), *job.wrong_rows())


def kill_half_way(folder: Path, splits: int, threads: int) -> Outcome:
    """Kills a job when half of its splits are committed, and gives the same command again.

    Args:
      folder: an empty one.
      splits: of the job.
      threads: which read at once.
    """
    job = Job(folder, splits, threads)
    job.kill("after record", splits // 2)
    before = job.committed()
    assert main(job.arguments()) == 0
    assert before.items() <= job.committed().items()
    job.require_clean()
    redone = set(job.begun()) - set(before)
    return Outcome(
        "half of the records", splits // 2, len(before), len(redone), *job.wrong_rows())


def ragged(lists: list[list[float]]) -> np.ndarray:
    """Lists of several lengths as one column."""
    column = np.empty(len(lists), object)
    column[:] = lists
    return column
