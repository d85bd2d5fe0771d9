"""What a job of the soak is and what is done to it, drawn at random."""

from __future__ import annotations

import dataclasses
import random

# Who may be killed, by name. A driver is the command alone; a machine is all that it started.
DRIVER, MACHINE, WORKER, TASK_MANAGER = "driver", "machine", "worker", "task manager"
# The command is killed and not given again: on Flink the job goes on by itself.
DRIVER_FOR_GOOD = "driver for good"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One job: what is done to it.

    Attributes:
      splits: files, each a split.
      rows: of each file.
      bad: share of rows that no model takes.
      threads: that read at once, or worker processes; on Flink the parallelism.
      processes: whether workers are processes of their own.
      most_rows: what fits the memory that the allocator gives; None: whatever is asked for.
      pause_seconds: that each step takes besides its own time.
      kills: who is killed, one after the other, and when such a share of what was left when
        the command began, or the one before was killed, is committed.
    """

    splits: int
    rows: int
    bad: float
    threads: int
    processes: bool
    most_rows: int | None
    pause_seconds: float
    kills: tuple[tuple[str, float], ...]


def draw_local(rng: random.Random) -> Trial:
    """A trial on the runner within the command's process."""
    processes = rng.random() < 0.5
    victims = (DRIVER, MACHINE, WORKER, WORKER, WORKER) if processes else (MACHINE,)
    return _draw(rng, processes, victims, most_threads=3, most_kills=3)


def draw_flink(rng: random.Random) -> Trial:
    """A trial on a cluster, whose workers are processes, or threads of one that lives on."""
    processes = rng.random() < 0.6
    # Of four slots, so that a command given again beside the job that goes on has its own.
    victims = (MACHINE, DRIVER_FOR_GOOD, TASK_MANAGER, *((WORKER, WORKER) if processes else ()))
    return _draw(rng, processes, victims, most_threads=2, most_kills=2)


def _draw(
    rng: random.Random,
    processes: bool,
    victims: tuple[str, ...],
    most_threads: int,
    most_kills: int,
) -> Trial:
    return Trial(
        splits=rng.randint(4, 40),
        rows=rng.randint(1, 300),
        bad=rng.choice([0.0, 0.01, 0.2]),
        threads=rng.randint(1, most_threads),
        processes=processes,
        most_rows=rng.choice([None, 4, 16, 40]),
        pause_seconds=rng.choice([0.0, 0.005, 0.03]),
        kills=tuple((rng.choice(victims), rng.random()) for _ in range(rng.randint(0, most_kills))),
    )
