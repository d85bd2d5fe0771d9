"""Measuring batch sizes on a sample, on made-up machines with known rates."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from transforms.engine.ladder import ladder
from transforms.engine.sizing import MOST_ROWS, BatchSizer
from transforms.engine.slicing import Columns, count_rows
from transforms.engine.sweep import sweep

SAMPLE = {"x": np.zeros((100, 25), np.float32)}


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's is: it is known by its name."""


class Machine:
    """Takes the seconds for a batch that a formula says; none pass."""

    def __init__(self, seconds: Callable[[int], float], replicas: int = 1, room: int = 1 << 40):
        self.replicas = types.SimpleNamespace(count=replicas, kind="CPU")
        self.sizer = BatchSizer(replicas)
        self.batches: list[int] = []
        self._seconds = seconds
        self._room = room

    def time_batch(self, columns: Columns) -> float:
        rows = count_rows(columns)
        if rows > self._room:
            raise ResourceExhaustedError
        self.batches.append(rows)
        return self._seconds(rows)


def swept(machine: Machine, **options: Any) -> Any:
    return sweep(machine, SAMPLE, **{"seconds": 60.0, **options})  # type: ignore[arg-type]


def test_every_size_is_replica_divisible_and_the_smallest_good_one_is_chosen() -> None:
    machine = Machine(lambda rows: 1e-2 * max(1, rows / 3072), replicas=3)
    found = swept(machine)
    assert found.is_complete
    assert found.too_large is None
    assert found.chosen == 3072
    assert set(machine.batches) <= {*ladder(MOST_ROWS, 3), 48}
    assert [size.rows for size in found.sizes] == sorted(size.rows for size in found.sizes)
    rates = {size.rows: size.rows_per_second for size in found.sizes}
    assert rates[3072] == pytest.approx(307_200)


def test_a_slow_model_begins_with_what_the_time_holds() -> None:
    machine = Machine(lambda rows: rows * 0.1)
    swept(machine, seconds=20.0)
    assert max(machine.batches) <= 20


def test_a_size_that_does_not_fit_ends_the_way_up() -> None:
    machine = Machine(lambda rows: 1e-2 + rows * 1e-6, room=10_000)
    found = swept(machine)
    assert found.too_large == 16_384
    assert found.chosen == 8192
    assert max(size.rows for size in found.sizes) <= 10_000


def test_what_is_predicted_not_to_fit_is_not_tried() -> None:
    machine = Machine(lambda rows: 1e-2 + rows * 1e-6)
    machine.sizer.set_fitting(20_000)
    assert swept(machine).chosen == 20_000
    assert swept(machine, most_rows=5000).chosen == 5000
    assert max(machine.batches) == 20_000


def test_what_does_not_fit_at_all_is_raised() -> None:
    with pytest.raises(ResourceExhaustedError):
        swept(Machine(lambda rows: 1.0, room=0))


def test_no_time_measures_one_size() -> None:
    found = swept(Machine(lambda rows: 1e-3), seconds=1e-9)
    assert not found.is_complete
    assert [size.rows for size in found.sizes] == [1]


def test_peaks_are_the_highest_of_each_size() -> None:
    calls = 0

    def measure_peak(run: Callable[[], float]) -> tuple[float, int | None]:
        nonlocal calls
        calls += 1
        return run(), None if calls % 3 == 0 else calls

    found = swept(Machine(lambda rows: rows * 1e-6), measure_peak=measure_peak)
    assert all(size.peak_bytes is not None for size in found.sizes)
    assert max(size.peak_bytes for size in found.sizes) > calls - 3
    assert all(size.peak_bytes is None for size in swept(Machine(lambda rows: 1.0)).sizes)


def test_what_else_the_machine_does_for_a_moment_does_not_decide() -> None:
    batches = 0

    def seconds(rows: int) -> float:
        nonlocal batches
        batches += 1
        # Everything takes twice as long while the first larger size is searched.
        return rows * 1e-6 * (2 if rows == 4096 and batches < 20 else 1) + 1e-3

    found = swept(Machine(seconds))
    rates = {size.rows: size.rows_per_second for size in found.sizes}
    assert rates[4096] == pytest.approx(4096 / (4096e-6 + 1e-3))


def test_a_sample_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        sweep(Machine(lambda rows: 1.0), {"x": np.zeros((0, 2))}, seconds=1)  # type: ignore[arg-type]
