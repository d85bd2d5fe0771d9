"""What a case is made of, and what a contender gets and does."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Scale = Literal["small", "full"]


@dataclass(frozen=True)
class Entry:
    """One contender's part in a case.

    Attributes:
      opener: `module:function` below `benchmarks.contenders`, called as `function(job)` in the
        process of the run. It loads the
        model, warms up, and returns what the clock is held at: a function without arguments that
        scores all of the job's rows, to `measured.SEEN` or into `job.output`.
      small: rows at the scale `small`; slow contenders get fewer, rates are compared.
      full: rows at the scale `full`.
      tree: it works in processes of its own below this one; then their CPU time and memory are
        summed, by sampling.
    """

    opener: str
    small: int
    full: int
    tree: bool = False

    def rows(self, scale: Scale) -> int:
        """How many rows it scores."""
        return self.small if scale == "small" else self.full


@dataclass(frozen=True)
class Target:
    """A ratio that is to be reached.

    Attributes:
      contender: whose figure is above the line.
      against: whose is below it. For `bound` the line is 1 / (1/read + 1/bare).
      measure: a figure of the result: `rows_per_second`, `rows_per_cpu_second`, `peak_mib` or
        `start_seconds`, …; more is better for rates, less for the others.
      ratio: the least ratio, or the largest where less is better.
    """

    contender: str
    against: str
    measure: str
    ratio: float


# What is to be shown of most cases that read files.
AS_FAST_AS_ITS_PARTS = Target("mirrorbeam", "bound", "rows_per_second", 0.9)
AHEAD_OF_PEERS = (
    Target("mirrorbeam", "peers", "rows_per_second", 1),
    Target("mirrorbeam", "peers", "peak_mib", 1.2),
)


@dataclass(frozen=True)
class Job:
    """One run of one contender, in a process of its own.

    Attributes:
      case: what is measured.
      data: what `case.prepare` made for this number of rows.
      rows: how many are to be scored.
      output: an empty folder for this run.
      gpu: whether to use the GPUs; otherwise TensorFlow is shown none.
      batch_rows: rows of a step, for contenders that are told: the best of the sweep.
    """

    case: Case
    data: Path
    rows: int
    output: Path
    gpu: bool = False
    batch_rows: int | None = None

    @property
    def model(self) -> Path:
        """The case's Keras model."""
        return self.data / "model.keras"

    @property
    def devices(self) -> tuple[str, ...] | str:
        """What mirrorbeam is to run on."""
        return "all" if self.gpu else ("CPU:0",)


@dataclass(frozen=True)
class Case:
    """Something to score, and who scores it.

    Attributes:
      letter: short name of it, in commands and files.
      name: the module.
      sentence: what is scored, for the page.
      clock: what is inside the clock, for the page.
      prepare: `prepare(folder, rows)` writes the model, the data of that many rows and what the
        check needs (the bare model's predictions). Called once, in a process of its own.
      check: `check(job)` after a run, outside the clock; raises ValueError unless every row was
        scored once and as the bare model scores it.
      input: of cases that read files: the file or folder in `job.data` to score.
      warm_input: the same with few rows, to be scored before the clock.
      flags: for `mirrorbeam score`, beside input, model, output and devices.
      entries: by contender. `bare` is the ceiling; `read` reads and decodes without a model.
      targets: what is to be shown.
      sweep_rows: batch sizes that the bare loop tries before the rounds; empty: it needs none.
      on_gpu: whether `make bench-gpu` runs it.
    """

    letter: str
    name: str
    sentence: str
    clock: str
    prepare: Callable[[Path, int], None]
    check: Callable[[Job], None]
    entries: Mapping[str, Entry]
    input: str = "input"
    warm_input: str = "warm_input"
    flags: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    sweep_rows: tuple[int, ...] = ()
    on_gpu: bool = False


def open_contender(job: Job, contender: str) -> Callable[[], object]:
    """Calls a contender's opener: the model is loaded and warm afterwards."""
    module, _, function = job.case.entries[contender].opener.partition(":")
    run: Callable[[], object] = getattr(
        importlib.import_module(f"benchmarks.contenders.{module}"), function
    )(job)
    return run
