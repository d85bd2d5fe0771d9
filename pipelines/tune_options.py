"""The flags of `mirrorbeam tune`."""

from __future__ import annotations

import argparse
import dataclasses
import math

from pipelines.option_flags import add_inference_arguments
from pipelines.options import InferenceOptions
from transforms.engine.model import PRECISIONS

PLOT_SUFFIXES = (".png", ".svg")
DEFAULT_TUNE_SECONDS = 60.0
# bfloat16 rounds each value by up to 0.4 percent, and what layers do adds up.
DEFAULT_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneOptions(InferenceOptions):
    """One `mirrorbeam tune` command, its values checked one by one but not against the data.

    Attributes:
      tune_seconds: how long to measure, all candidates together.
      try_precision: dtype policies to try beside the command's own.
      try_xla: try each of them compiled, too.
      tolerance: how far outputs may be from those in float32, as a share of their magnitude.
      plot: file for the plot.
      json: file for what was found, as JSON.
    """

    tune_seconds: float = DEFAULT_TUNE_SECONDS
    try_precision: tuple[str, ...] = ()
    try_xla: bool = False
    tolerance: float = DEFAULT_TOLERANCE
    plot: str | None = None
    json: str | None = None


def add_tune_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `mirrorbeam tune`, but for those of sources."""
    add_inference_arguments(parser)
    group = parser.add_argument_group("tune")
    group.add_argument(
        "--tune_seconds",
        metavar="SECONDS",
        type=_seconds,
        default=DEFAULT_TUNE_SECONDS,
        help="how long to measure, beside loading (default: 60)",
    )
    group.add_argument(
        "--try_precision",
        metavar="PRECISION,…",
        type=_precisions,
        default=(),
        help="also try these, of " + ", ".join(PRECISIONS),
    )
    group.add_argument(
        "--try_xla", action="store_true", help="also try each of them compiled with XLA"
    )
    group.add_argument(
        "--tolerance",
        metavar="SHARE",
        type=_tolerance,
        default=DEFAULT_TOLERANCE,
        help="how far the outputs of what is tried may be from those in float32: the largest "
        "difference as a share of an output's largest value, the mean difference of its mean "
        "value, and the rows with another top class of all rows (default: 0.02)",
    )
    group.add_argument(
        "--plot",
        metavar="FILE",
        type=_plot_path,
        help="draw rate and memory against batch size, as .png or .svg (extra: report)",
    )
    group.add_argument("--json", metavar="FILE", help="write what was found as JSON, too")


def _reject(expected: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {expected}. Received: {text!r}.")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not 0 < seconds < math.inf:
        raise _reject("a number of seconds above 0", text)
    return seconds


def _tolerance(text: str) -> float:
    tolerance = _number(text)
    if not 0 <= tolerance < math.inf:
        raise _reject("a share from 0, such as 0.02", text)
    return tolerance


def _precisions(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(names) <= set(PRECISIONS):
        raise _reject(f"names among {', '.join(PRECISIONS)}, separated by commas", text)
    return names


def _plot_path(text: str) -> str:
    if not text.lower().endswith(PLOT_SUFFIXES):
        raise _reject(f"a file name that ends with {' or '.join(PLOT_SUFFIXES)}", text)
    return text
