"""Measures batch sizes for a model in several precisions, and how far each is from float32."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.errors import CommandError
from transforms.engine.agreement import Agreement, compare_outputs, first_refusal
from transforms.engine.errors import describe
from transforms.engine.memory import PeakMeter
from transforms.engine.opening import PredictorConfig, open_predictor, predictor_of
from transforms.engine.predictor import Predictor
from transforms.engine.slicing import Columns, count_rows, cut, join
from transforms.engine.sweep import Sweep, sweep
from transforms.engine.tuning import TOLERANCE
from transforms.engine.tuning_store import predictor_tuning_key

_LOG = logging.getLogger(__name__)

# Of the time for a candidate, the part that its outputs may take, and rows to begin with.
_PREDICTION_SHARE = 0.2
_FIRST_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to run the model.

    Attributes:
      precision: Keras dtype policy; None for the model's own.
      xla: compiled.
    """

    precision: str | None = None
    xla: bool = False

    @property
    def flags(self) -> str:
        """What `mirrorbeam score` needs for it; empty where that is nothing."""
        precision = f"--precision {self.precision}" if self.precision else ""
        return f"{precision} {'--xla' if self.xla else ''}".strip()

    @property
    def name(self) -> str:
        """The variant in few words."""
        return (self.precision or "as saved") + (", XLA" if self.xla else "")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What was found out about one variant.

    Attributes:
      variant: which one.
      sweep: its batch sizes; None where it cannot run.
      agreements: its outputs beside those in float32; empty where nothing was compared.
      refusal: why it is not to be used; None where it may be.
      key: what `score` looks for its size under; None where it sizes batches by bytes, since
        rows have no fixed shape.
    """

    variant: Variant
    sweep: Sweep | None
    agreements: tuple[Agreement, ...] = ()
    refusal: str | None = None
    key: str | None = None

    @property
    def is_saved(self) -> bool:
        """Whether `score` is to start with its size by itself."""
        is_found = self.sweep is not None and self.sweep.is_complete
        return is_found and self.refusal is None and self.key is not None

    @property
    def rows_per_second(self) -> float:
        """Its rate with the chosen size; 0 where it cannot run."""
        if self.sweep is None:
            return 0.0
        return next(s.rows_per_second for s in self.sweep.sizes if s.rows == self.sweep.chosen)


@dataclasses.dataclass(frozen=True)
class Findings:
    """All candidates, the command's own settings first.

    Attributes:
      candidates: at least one.
      devices: where they ran.
    """

    candidates: tuple[Candidate, ...]
    devices: tuple[str, ...]

    @property
    def best(self) -> Candidate:
        """The fastest that may be used; the command's own settings unless the gain is real."""
        own = self.candidates[0]
        accepted = [candidate for candidate in self.candidates if candidate.refusal is None]
        best = max(accepted, key=lambda candidate: candidate.rows_per_second)
        if best.rows_per_second > (1 + TOLERANCE) * own.rows_per_second:
            return best
        return own


class _Budget:
    """Seconds for measuring; loading models in between does not count."""

    def __init__(self, seconds: float, shares: int) -> None:
        self._seconds = seconds
        self._shares = shares

    @contextlib.contextmanager
    def share(self) -> Iterator[float]:
        """An equal share of what is left."""
        started = time.monotonic()
        try:
            yield self._seconds / self._shares
        finally:
            self._seconds = max(0.0, self._seconds - (time.monotonic() - started))
            self._shares = max(1, self._shares - 1)


def measure_candidates(
    config_of: Callable[[Variant], PredictorConfig],
    model_digest: str,
    sample: Columns,
    variants: Sequence[Variant],
    *,
    reference: Variant | None,
    seconds: float,
    tolerance: float,
) -> Findings:
    """Finds the batch size of every variant, and compares its outputs with the reference's.

    Args:
      config_of: what a variant is opened with.
      model_digest: of the model's content.
      sample: rows of one shape; those that the model cannot predict are left out.
      variants: the command's own settings, then others to try. Of the latter those are
        refused that cannot run or are too far from the reference.
      reference: the variant that outputs are compared with; None compares nothing.
      seconds: for all measuring together.
      tolerance: how far outputs may be from the reference's, see `Agreement.refusal`.

    Raises:
      CommandError: no row of the sample can be predicted.
      ModelError, DeviceError, SetupError: the reference or the command's own settings cannot
        be opened.
      tf.errors.OpError: they cannot run.
    """
    first = reference or variants[0]
    budget = _Budget(seconds, len({first, *variants}))
    found: dict[Variant, Candidate] = {}
    _LOG.info("measuring %s", first.name)
    with _opened(config_of(first)) as predictor, budget.share() as share:
        predicted = predict_some(predictor, sample, _PREDICTION_SHARE * share)
        sample, expected = predicted.rows, predicted.outputs
        devices = predictor.replicas.devices
        if first in variants:
            agreements = compare_outputs(expected, expected) if reference else ()
            found[first] = Candidate(
                first,
                _sweep(predictor, sample, share),
                agreements,
                key=_key(config_of(first), model_digest, predictor),
            )

    def measure(variant: Variant) -> Candidate:
        config = config_of(variant)
        with _opened(config) as predictor, budget.share() as share:
            agreements: tuple[Agreement, ...] = ()
            if reference is not None:
                agreements = _compare(predictor, sample, expected, _PREDICTION_SHARE * share)
            return Candidate(
                variant,
                _sweep(predictor, sample, share),
                agreements,
                first_refusal(agreements, tolerance) if variant != variants[0] else None,
                _key(config, model_digest, predictor),
            )

    for variant in variants:
        if variant in found:
            continue
        _LOG.info("measuring %s", variant.name)
        try:
            found[variant] = measure(variant)
        except Exception as error:
            if variant == variants[0]:
                raise
            kind, message = describe(error)
            reason = " ".join(f"cannot run: {kind}: {message}".split())
            found[variant] = Candidate(variant, None, refusal=reason)
    return Findings(tuple(found[variant] for variant in variants), devices)


class Predicted(NamedTuple):
    """Rows that could be predicted, their outputs, and why others could not; empty if all could."""

    rows: Columns
    outputs: Columns
    failures: dict[str, int]


def predict_some(predictor: Predictor, sample: Columns, seconds: float) -> Predicted:
    """Predicts as many of a sample's first rows as the time allows, a few at least.

    Raises:
      CommandError: none could be predicted.
    """
    rows: list[Columns] = []
    outputs: list[Columns] = []
    failures: collections.Counter[str] = collections.Counter()

    def predict(part: Columns) -> None:
        scored = predictor.predict(part)
        is_good = np.ones(count_rows(part), bool)
        is_good[list(scored.errors)] = False
        if is_good.any():
            rows.append({name: values[is_good] for name, values in part.items()})
            outputs.append(scored.outputs)
        reasons = (f"{error}: {message}" for error, message in scored.errors.values())
        failures.update(" ".join(reason.split()) for reason in reasons)

    total = count_rows(sample)
    first = min(_FIRST_ROWS, total)
    predict(cut(sample, 0, first))
    started = time.monotonic()
    predictor.predict(cut(sample, 0, first))
    affordable = int(seconds / max(time.monotonic() - started, 1e-9) * first)
    last = min(total, affordable) if rows else total
    if last > first:
        predict(cut(sample, first, last))
    if not rows:
        raise CommandError(
            f"expected rows that the model predicts. Received: {next(iter(failures))} ({total} "
            "rows tried). Correct --input, --input_map or --preprocess."
        )
    return Predicted(join(rows), join(outputs), failures)


def _sweep(predictor: Predictor, sample: Columns, share: float) -> Sweep:
    return sweep(
        predictor,
        sample,
        seconds=(1 - _PREDICTION_SHARE) * share,
        measure_peak=PeakMeter(predictor.replicas).measure,
    )


def _compare(
    predictor: Predictor, sample: Columns, expected: Columns, seconds: float
) -> tuple[Agreement, ...]:
    predicted = predict_some(predictor, sample, seconds)
    for failure, rows in predicted.failures.items():
        raise ValueError(f"{rows} rows fail that float32 predicts: {failure}")
    return compare_outputs(cut(expected, 0, count_rows(predicted.rows)), predicted.outputs)


@contextlib.contextmanager
def _opened(config: PredictorConfig) -> Iterator[Predictor]:
    """A predictor that is closed at once, so that the next one has the memory."""
    lease = open_predictor(config)
    try:
        yield predictor_of(lease)
    finally:
        predictor_of(lease).close()
        lease.release()


def _key(config: PredictorConfig, model_digest: str, predictor: Predictor) -> str | None:
    if not predictor.is_static:
        return None
    inputs = predictor.signature.inputs
    return predictor_tuning_key(config, model_digest, inputs, predictor.replicas)
