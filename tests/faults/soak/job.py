"""The files of a trial, its command, and what became of its rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.kill_points import ROOT, ragged
from tests.faults.soak.trials import Trial
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import column, read_failed, read_report, read_rows
from tests.references import Reference

_LONGEST_RUN_SECONDS = 300.0

# Of every process that scores. oneDNN's allocator tries for 10 s before it refuses.
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "0"}

# Every batch of more rows than fit asks the allocator for 16 TiB, and at random so do others.
_STEP = """
import time

import tensorflow as tf

def step(features):
    rows = tf.shape(features)[0]
    unlucky = tf.logical_and(rows > 2, tf.random.uniform([]) < {unlucky})
    side = tf.where(tf.logical_or(rows > {limit}, unlucky), 1 << 22, 1)
    nothing = tf.reduce_sum(tf.zeros([side, 1024, 1024]))

    def pause(value):
        time.sleep({pause})
        return value

    if {pause}:
        nothing = tf.ensure_shape(tf.numpy_function(pause, [nothing], tf.float32), [])
    return tf.ensure_shape(tf.cast(features, tf.float32), [None, 8]) + nothing
"""


class Job:
    """A trial's files in a folder, and the command that scores them.

    Attributes:
      out: the output folder.
      trial: what it was made for.
      counts: what was done to it and what came of it, by name.
    """

    def __init__(
        self, folder: Path, model: Path, reference: Reference, trial: Trial, flags: Sequence[str]
    ) -> None:
        """Makes the files in an empty folder.

        Args:
          folder: where.
          model: the Keras file.
          reference: the same model as a plain function.
          trial: what the job is like.
          flags: of the runner.
        """
        self.out = folder / "out"
        self.trial = trial
        self.counts: Counter[str] = Counter()
        self._folder = folder
        self._reference = reference
        self._rows = reference.rows(trial.splits * trial.rows)
        rng = np.random.default_rng(trial.rows)
        self._bad = np.flatnonzero(rng.random(trial.splits * trial.rows) < trial.bad)
        features = self._rows["features"].tolist()
        for row in self._bad:
            features[row] = features[row][:-1]
        for split in range(trial.splits):
            own = slice(split * trial.rows, (split + 1) * trial.rows)
            columns = {"id": np.arange(own.start, own.stop), "features": ragged(features[own])}
            write_parquet(folder / f"in/{split:03d}.parquet", columns)
        self._command = [
            sys.executable, "-m", "pipelines", "score", f"--model={model}",
            f"--input={folder / 'in'}", f"--output={self.out}", "--devices=CPU:0",
            "--max_failed_fraction=1", *flags,
        ]  # fmt: skip
        if trial.most_rows is not None or trial.pause_seconds:
            step = _STEP.format(
                limit=trial.most_rows or "tf.int32.max", pause=trial.pause_seconds,
                unlucky=0.0 if trial.most_rows is None else 0.03)  # fmt: skip
            (folder / "step.py").write_text(step)
            self._command += [f"--preprocess={folder / 'step.py'}:step", "--batch_size=64"]

    def start(self) -> subprocess.Popen[bytes]:
        """Gives the command, as the leader of a session; what it says goes to a log."""
        environment = os.environ | ENVIRONMENT | {"TMPDIR": str(self._folder)}
        self.counts["commands"] += 1
        with self._log.open("wb") as log:
            return subprocess.Popen(
                self._command, cwd=ROOT, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def wait(self, running: subprocess.Popen[bytes]) -> int:
        """The exit code of a command that ends in time.

        Raises:
          AssertionError: it does not.
        """
        try:
            return running.wait(_LONGEST_RUN_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self.trial} does not end\n{self.said()}") from error

    def require_done(self, code: int) -> None:
        """Fails where a command that nobody disturbed did not end with 0."""
        assert code == 0, f"{self.trial}: exit code {code}\n{self.said()}"

    def said(self) -> str:
        """The end of what the latest command said."""
        return self._log.read_text(errors="replace")[-6000:]

    def records(self, kind: str) -> int:
        """How many files of a kind, `runs` or `commits`, the output folder has."""
        return len(list((self.out / "_mirrorbeam" / kind).glob("*.json")))

    def scored_by(self) -> list[int]:
        """The processes that committed splits."""
        paths = sorted((self.out / "_mirrorbeam" / "commits").glob("*.json"))
        runs = [json.loads(path.read_bytes())["run"] for path in paths]
        return sorted({int(run["process"].rpartition(":")[2]) for run in runs})

    def await_share(
        self, running: subprocess.Popen[bytes], runs: int, before: int, share: float
    ) -> bool:
        """Waits until it is time to kill; False where the command ended before.

        Args:
          running: the command.
          runs: records of commands that were there before it.
          before: splits that were committed when the share began to count.
          share: of the splits that were not.
        """
        enough = before + share * (self.trial.splits - before)
        while self.records("runs") == runs or self.records("commits") < enough:
            if running.poll() is not None:
                return False
            time.sleep(0.005)
        return True

    def count_kill(self, victim: str) -> None:
        """Counts one, and whether the job was half done then."""
        self.counts[f"{victim} killed"] += 1
        self.counts["killed midway"] += 0 < self.records("commits") < self.trial.splits

    def wrong_rows(self) -> tuple[int, int]:
        """Rows lost and rows doubled; raises where one is wrong or out of place."""
        found, failed = read_rows(self.out), read_failed(self.out)
        ids = column(found, "id").astype(int) if found else np.zeros(0, int)
        bad = [row["id"] for row in failed]
        every = np.concatenate([ids, np.array(bad, int)])
        count = self.trial.splits * self.trial.rows
        lost, doubled = count - len(set(every.tolist())), len(every) - len(set(every.tolist()))
        if not lost and not doubled:
            assert bad == self._bad.tolist()
            assert np.all(np.diff(ids) > 0)
            expected = self._reference(self._rows)["scores"][ids]
            np.testing.assert_allclose(column(found, "scores"), expected, atol=1e-5)
            report = read_report(self.out)
            assert (report["rows_in"], report["failed"]) == (count, len(bad))
            assert (self.out / "_SUCCESS").exists()
        return lost, doubled

    def left_behind(self) -> bool:
        """Whether files of attempts that were given up are still there."""
        return (self.out / "_mirrorbeam/tmp").exists()

    def summary(self) -> dict[str, Any]:
        """What it was and what came of it, to be summed."""
        workers = read_report(self.out)["workers"]
        return dict(self.counts) | {
            "jobs": 1,
            "splits": self.trial.splits,
            "rows": self.trial.splits * self.trial.rows,
            "bad rows": len(self._bad),
            "starved jobs": self.trial.most_rows is not None,
            "out of memory": sum(worker.get("out_of_memory", 0) for worker in workers),
        }

    @property
    def _log(self) -> Path:
        return self._folder / f"command-{self.counts['commands']}.log"
