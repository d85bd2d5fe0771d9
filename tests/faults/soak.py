"""Jobs that are killed, starved of memory and fed bad rows at random, until the time is up.

    python -m tests.faults.soak --seconds 1800

Prints its seed, counts every row of every job, and writes `benchmarks/results/soak.json`. Ends
with exit code 1 where a row was lost, doubled or wrong, or where a process that runs job after
job keeps memory, threads or files.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np

from benchmarks.machine import describe_machine
from tests.faults.kill_points import ROOT, ragged
from tests.faults.many_jobs import growth
from tests.models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import column, read_failed, read_report, read_rows
from tests.references import Reference

RESULTS = ROOT / "benchmarks" / "results" / "soak.json"

_LOG = logging.getLogger(__name__)

# A command whose worker was killed may wait for it; then it is killed too, as a user would.
_PATIENCE_SECONDS = 15.0
_LONGEST_RUN_SECONDS = 300.0
# What a process may gain from its first settled jobs to its last; memory settles slowly.
_MOST_THREADS, _MOST_FILES, _MOST_MIB, _MOST_MIB_PER_JOB = 2, 2, 20.0, 0.1

# Every batch of more rows than fit asks the allocator for 16 TiB, and at random so do others.
_STARVED = """
import tensorflow as tf

def starved(features):
    rows = tf.shape(features)[0]
    unlucky = tf.logical_and(rows > 2, tf.random.uniform([]) < 0.03)
    side = tf.where(tf.logical_or(rows > {limit}, unlucky), 1 << 22, 1)
    nothing = tf.reduce_sum(tf.zeros([side, 1024, 1024]))
    return tf.ensure_shape(tf.cast(features, tf.float32), [None, 8]) + nothing
"""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One job: what is done to it.

    Attributes:
      splits: files, each a split.
      rows: of each file.
      bad: share of rows that no model takes.
      threads: that read at once; or worker processes.
      processes: whether workers are processes of their own.
      most_rows: what fits the memory that the allocator gives; None: whatever is asked for.
      kills: who is killed, one after the other, and when such a share of what was left when
        the command began is committed.
    """

    splits: int
    rows: int
    bad: float
    threads: int
    processes: bool
    most_rows: int | None
    kills: tuple[tuple[str, float], ...]


def draw(rng: random.Random) -> Trial:
    """A trial at random."""
    processes = rng.random() < 0.4
    victims = ("driver", "worker", "worker") if processes else ("driver",)
    kills = [(rng.choice(victims), rng.random()) for _ in range(rng.randint(0, 3))]
    return Trial(
        splits=rng.randint(4, 40),
        rows=rng.randint(1, 300),
        bad=rng.choice([0.0, 0.01, 0.2]),
        threads=rng.randint(1, 3),
        processes=processes,
        most_rows=rng.choice([None, 4, 16, 40]),
        kills=tuple(kills),
    )


class Job:
    """The files of a trial, and its command."""

    def __init__(self, folder: Path, model: Path, reference: Reference, trial: Trial) -> None:
        self.out = folder / "out"
        self.trial = trial
        self.kills: Counter[str] = Counter()
        self._reference = reference
        self._rows = reference.rows(trial.splits * trial.rows)
        rng = np.random.default_rng(trial.rows)
        self.bad = np.flatnonzero(rng.random(trial.splits * trial.rows) < trial.bad)
        features = self._rows["features"].tolist()
        for row in self.bad:
            features[row] = features[row][:-1]
        for split in range(trial.splits):
            own = slice(split * trial.rows, (split + 1) * trial.rows)
            columns = {"id": np.arange(own.start, own.stop), "features": ragged(features[own])}
            write_parquet(folder / f"in/{split:03d}.parquet", columns)
        self._command = [
            sys.executable, "-m", "pipelines", "score", f"--model={model}",
            f"--input={folder / 'in'}", f"--output={self.out}", "--devices=CPU:0",
            f"--direct_num_workers={trial.threads}", "--max_failed_fraction=1",
            "--direct_running_mode="
            + ("multi_processing" if trial.processes else "multi_threading"),
        ]  # fmt: skip
        if trial.most_rows is not None:
            (folder / "starved.py").write_text(_STARVED.format(limit=trial.most_rows))
            self._command += [f"--preprocess={folder / 'starved.py'}:starved", "--batch_size=64"]

    def run(self) -> None:
        """Runs the command until it is killed, once for each kill, and then to its end."""
        for victim, share in self.trial.kills:
            self._run(victim, share)
        self._run(None, 0.0)

    def wrong_rows(self) -> tuple[int, int]:
        """Rows lost and rows doubled; raises where one is wrong or out of place."""
        found, failed = read_rows(self.out), read_failed(self.out)
        ids = column(found, "id").astype(int) if found else np.zeros(0, int)
        bad = [row["id"] for row in failed]
        every = np.concatenate([ids, np.array(bad, int)])
        count = self.trial.splits * self.trial.rows
        lost, doubled = count - len(set(every.tolist())), len(every) - len(set(every.tolist()))
        if not lost and not doubled:
            assert bad == self.bad.tolist()
            assert np.all(np.diff(ids) > 0)
            expected = self._reference(self._rows)["scores"][ids]
            np.testing.assert_allclose(column(found, "scores"), expected, atol=1e-5)
            report = read_report(self.out)
            assert (report["rows_in"], report["failed"]) == (count, len(bad))
            assert not (self.out / "_mirrorbeam/tmp").exists()
        return lost, doubled

    def _count(self, kind: str) -> int:
        return len(list((self.out / "_mirrorbeam" / kind).glob("*.json")))

    def _run(self, victim: str | None, share: float) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "0"}
        with tempfile.TemporaryFile() as log:
            running = subprocess.Popen(
                self._command, cwd=ROOT, env=environment, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
            try:
                if victim is not None:
                    self._kill(running, victim, share)
                code = running.wait(_LONGEST_RUN_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise AssertionError(f"{self.trial} does not end") from error
            finally:
                _end(running)
            log.seek(0)
            if victim is None and code:
                raise AssertionError(f"{self.trial}: exit code {code}\n{log.read().decode()}")

    def _kill(self, running: subprocess.Popen[bytes], victim: str, share: float) -> None:
        runs, before = self._count("runs"), self._count("commits")
        enough = before + share * (self.trial.splits - before)
        # The job has begun when this command has written that it works on it.
        while self._count("runs") == runs or self._count("commits") < enough:
            if running.poll() is not None:
                return
            time.sleep(0.005)
        self.kills["midway"] += 0 < self._count("commits") < self.trial.splits
        workers = _children(running.pid)
        if victim == "worker" and workers:
            os.kill(workers[-1], signal.SIGKILL)
            self.kills["worker"] += 1
            try:
                running.wait(_PATIENCE_SECONDS)
                return
            except subprocess.TimeoutExpired:
                pass
        self.kills["driver"] += 1
        _end(running)


def _end(running: subprocess.Popen[bytes]) -> None:
    """Kills a command and what it started."""
    try:
        os.killpg(running.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    running.wait()


def _children(pid: int) -> list[int]:
    """Processes that a process started, in their order."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found.append(int(path.parent.name))
    return sorted(found)


def run_trials(folder: Path, seconds: float, rng: random.Random) -> dict[str, Any]:
    """Trials until so many seconds have passed; plain values of what came of them."""
    reference = mlp_keras(folder)[1]
    until = time.monotonic() + seconds
    sums: Counter[str] = Counter()
    while time.monotonic() < until:
        trial = draw(rng)
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            job = Job(Path(inner), folder / "mlp.keras", reference, trial)
            job.run()
            lost, doubled = job.wrong_rows()
            workers = read_report(job.out)["workers"]
        sums.update(
            jobs=1, splits=trial.splits, rows=trial.splits * trial.rows, bad_rows=len(job.bad),
            drivers_killed=job.kills["driver"], workers_killed=job.kills["worker"],
            killed_midway=job.kills["midway"],
            starved_jobs=trial.most_rows is not None,
            out_of_memory=sum(worker.get("out_of_memory", 0) for worker in workers),
            rows_lost=lost, rows_doubled=doubled,
        )  # fmt: skip
        _LOG.info("%s: %d lost, %d doubled", trial, lost, doubled)
    return dict(sums)


def run_many_jobs(folder: Path, jobs: int) -> dict[str, Any]:
    """One process that runs job after job: its first settled figures, its last, the growth."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.many_jobs", str(folder), str(jobs)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}\n{done.stderr}")
    return growth(json.loads(done.stdout.splitlines()[-1]))


def is_flat(grown: dict[str, Any]) -> bool:
    """Whether a process that ran job after job kept nothing of them."""
    return bool(
        grown["threads_last"] - grown["threads_first"] <= _MOST_THREADS
        and grown["files_last"] - grown["files_first"] <= _MOST_FILES
        and grown["mib_grown"] <= _MOST_MIB + _MOST_MIB_PER_JOB * grown["jobs"])


def main(argv: list[str] | None = None) -> int:
    """Soaks, writes, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="of random trials")
    parser.add_argument("--seed", type=int, help="of the trials; chosen at random")
    parser.add_argument("--jobs", type=int, default=50, help="in one process, one by one")
    parser.add_argument("--results", type=Path, default=RESULTS)
    flags = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    _LOG.setLevel(logging.INFO)
    seed = flags.seed if flags.seed is not None else random.SystemRandom().randrange(2**32)
    _LOG.info("seed %d", seed)
    with tempfile.TemporaryDirectory() as folder:
        many = run_many_jobs(Path(folder), flags.jobs)
        _LOG.info("%s", many)
        trials = run_trials(Path(folder), flags.seconds, random.Random(seed))
    results = {
        "machine": describe_machine(), "seed": seed, "seconds": flags.seconds, "trials": trials,
        "one_process": many,
    }  # fmt: skip
    flags.results.write_text(json.dumps(results, indent=1) + "\n")
    exact = not trials["rows_lost"] and not trials["rows_doubled"]
    return 0 if exact and is_flat(many) else 1


if __name__ == "__main__":
    sys.exit(main())
