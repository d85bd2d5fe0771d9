"""The line through measured peaks, the meter, and the first look at a step."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import python
from transforms.engine.memory import MemoryFit, MemoryModel, fit

MIB = 1 << 20


def test_two_points_make_a_line() -> None:
    line = fit([(1, 110), (5, 150)])
    assert line == MemoryFit(100, 10)
    assert [line.bytes_for(rows) for rows in (0, 1, 7)] == [100, 110, 170]
    assert [line.rows_within(limit) for limit in (99, 100, 109, 110, 175)] == [0, 0, 0, 1, 7]


def test_one_size_alone_is_taken_by_its_rows() -> None:
    assert fit([(4, 100), (4, 120)]) == MemoryFit(0, 30)
    assert fit([(4, 120)], slopes=(10, 20)) == MemoryFit(80, 10)


def test_the_slope_is_never_negative() -> None:
    line = fit([(1, 500), (10, 400)])
    assert line == MemoryFit(500, 0)
    assert line.rows_within(500) == sys.maxsize
    assert line.rows_within(499) == 0


@pytest.mark.parametrize("points", [[], [(0, 100)]])
def test_points_without_rows(points: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="expected points of at least one row"):
        fit(points)


@given(
    fixed=st.integers(0, 1 << 34),
    per_row=st.integers(0, 1 << 22),
    sizes=st.lists(st.integers(1, 4096), min_size=1, max_size=12),
    chunks=st.randoms(use_true_random=False),
)
def test_no_measured_peak_is_above_the_line(
    fixed: int, per_row: int, sizes: list[int], chunks: Any
) -> None:
    points = [(rows, fixed + int(per_row * rows * chunks.uniform(1, 1.4))) for rows in sizes]
    line = fit(points)
    assert line.bytes_per_row >= 0
    assert line.fixed_bytes >= 0
    for rows, peak_bytes in points:
        assert line.bytes_for(rows) >= peak_bytes - 1e-6 * peak_bytes - 1


@given(
    fixed=st.integers(0, 1 << 34),
    per_row=st.floats(1, 1 << 26),
    limit=st.integers(0, 1 << 36),
)
def test_the_most_rows_are_the_most(fixed: int, per_row: float, limit: int) -> None:
    line = MemoryFit(fixed, per_row)
    rows = line.rows_within(limit)
    assert rows == 0 or line.bytes_for(rows) <= limit + 1
    assert line.bytes_for(rows + 1) >= limit - 1


def test_a_model_of_memory_goes_from_the_estimate_to_what_is_measured() -> None:
    memory = MemoryModel()
    assert memory.fit is None
    memory = MemoryModel(MemoryFit(10 * MIB, 1 * MIB))
    assert memory.fit == MemoryFit(10 * MIB, 1 * MIB)
    # Something the trace does not show, in small batches: the estimate's slope through it.
    memory.observe(1, 31 * MIB)
    assert memory.fit == MemoryFit(30 * MIB, 1 * MIB)
    # Chunks double what a few rows take; that is believed by a quarter.
    memory.observe(5, 39 * MIB)
    assert memory.fit == MemoryFit(math.ceil(32.75 * MIB), 1.25 * MIB)
    # Large batches decide alone, whatever the estimate was.
    memory.observe(1000, 530 * MIB)
    assert memory.fit is not None
    assert memory.fit.bytes_per_row == pytest.approx(0.5 * MIB, rel=0.01)
    assert memory.fit.bytes_for(1000) >= 530 * MIB
    memory.observe(1000, 500 * MIB)
    assert memory.points == ((1, 31 * MIB), (5, 39 * MIB), (1000, 530 * MIB))


def run_apart(program: str, **environment: str) -> dict[str, Any]:
    """Runs a program in a process of its own, whose allocator is clean; it prints JSON."""
    done = python("-c", PREPARE + program, env=os.environ | environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


PREPARE = """
import json
import numpy as np
import tensorflow as tf
from transforms.engine.memory import PeakMeter
from transforms.engine.memory_probe import measure_step
from transforms.engine.replicas import open_replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.step import Step

replicas = {
    1: open_replicas(("CPU:0",), logical_devices=2),
    2: open_replicas(("CPU:0", "CPU:1")),
}

class Model:
    def __init__(self, call, *fields):
        self.signature = Signature("test", fields)
        self.call = call
    def __call__(self, inputs):
        return self.call(inputs)

def step_of(call, shape, count=1):
    field = TensorField("x", "float32", shape)
    return Step(Model(call, field), replicas[count], (field,))

# Two tensors of 1 MiB a row live at once: no elementwise operation that could work in place.
def wide(inputs):
    first = tf.tile(inputs["x"], [1, 1 << 16])
    return {"y": tf.reduce_sum(tf.reverse(first, [1]), axis=1)}
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return run_apart("""
def run(step, rows, count=1):
    slices = [{"x": np.ones((rows, 4), np.float32)} for _ in range(count)]
    return [outputs["y"].numpy() for outputs in step(slices)]

found = {}
for count in (1, 2):
    step, meter = step_of(wide, (4,), count), PeakMeter(replicas[count])
    run(step, 16, count)
    meter.start()
    other = PeakMeter(replicas[count])
    run(step, 16, count)
    found[f"peak {count}"] = meter.peak_bytes()
    _, found[f"measured {count}"] = meter.measure(lambda: run(step, 16, count))
    meter.start()
    other.start()
    found[f"disturbed {count}"] = meter.peak_bytes()
    memory = measure_step(step, replicas[count], limit_bytes=1 << 30)
    found[f"points {count}"] = memory.points
    found[f"fit {count}"] = memory.fit.__dict__
    found[f"estimate {count}"] = memory.estimate.__dict__
    tight = measure_step(step, replicas[count], limit_bytes=40 << 20)
    found[f"tight {count}"] = tight.points

def picky(inputs):
    with tf.control_dependencies([tf.debugging.assert_positive(inputs["x"])]):
        return wide(inputs)

step = step_of(picky, (4,))
found["refused"] = measure_step(step, replicas[1]).points
rows = {"x": np.ones((3, 4), np.float32)}
found["given"] = len(measure_step(step, replicas[1], rows).points)
free = step_of(lambda inputs: {"y": tf.reduce_sum(inputs["x"], axis=1)}, (None,))
found["free"] = measure_step(free, replicas[1]).fit is None
found["free, given"] = measure_step(free, replicas[1], rows).estimate.__dict__
print(json.dumps(found))
""")


@pytest.mark.parametrize("count", [1, 2])
def test_peaks_are_those_of_one_replica(measured: dict[str, Any], count: int) -> None:
    # 16 rows of 2 MiB; on logical CPUs the replicas may be at different places of the step.
    for key in (f"peak {count}", f"measured {count}"):
        assert (32 if count == 1 else 16) * MIB <= measured[key] <= 36 * MIB


@pytest.mark.parametrize("count", [1, 2])
def test_two_meters_do_not_mislead_each_other(measured: dict[str, Any], count: int) -> None:
    assert measured[f"disturbed {count}"] is None


@pytest.mark.parametrize("count", [1, 2])
def test_a_step_is_measured_before_its_first_batch(measured: dict[str, Any], count: int) -> None:
    points = measured[f"points {count}"]
    assert points[0][0] == 1
    assert len(points) >= 2
    assert measured[f"estimate {count}"]["bytes_per_row"] == pytest.approx(2 * MIB, rel=0.08)
    assert 2 * MIB <= measured[f"fit {count}"]["bytes_per_row"] <= 2.7 * MIB


@pytest.mark.parametrize("count", [1, 2])
def test_probes_keep_away_from_the_limit(measured: dict[str, Any], count: int) -> None:
    assert max(rows for rows, _ in measured[f"tight {count}"]) < max(
        rows for rows, _ in measured[f"points {count}"]
    )


def test_rows_of_the_job_are_measured_where_made_up_ones_are_refused(
    measured: dict[str, Any],
) -> None:
    assert measured["refused"] == []
    assert measured["given"] >= 2


def test_free_dimensions_need_a_batch(measured: dict[str, Any]) -> None:
    assert measured["free"]
    assert measured["free, given"]["bytes_per_row"] == pytest.approx(1.07 * 20, rel=0.01)


def test_without_statistics_the_trace_is_all_there_is() -> None:
    found = run_apart(
        """
step = step_of(wide, (4,))
memory = measure_step(step, replicas[1])
_, peak = PeakMeter(replicas[1]).measure(lambda: None)
print(json.dumps({"points": memory.points, "per_row": memory.fit.bytes_per_row, "peak": peak}))
""",
        TF_ENABLE_ONEDNN_OPTS="0",
    )
    assert found["points"] == []
    assert found["peak"] is None
    assert found["per_row"] == pytest.approx(2 * MIB, rel=0.08)
