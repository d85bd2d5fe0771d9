"""Batches that do not fit: nothing is lost, nothing comes twice, and sizes recover."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tests.engine.ahead import open_ahead
from tests.processes import python
from transforms.engine.predictor import Predictor
from transforms.engine.recovery import OutOfDeviceMemoryError
from transforms.engine.replicas import open_replicas
from transforms.engine.signature import Signature, TensorField

pytestmark = pytest.mark.usefixtures("logical_cpus")

X = TensorField("x", "float32", (4,))
Decide = Callable[[np.ndarray], None]


class Scarce:
    """Adds up rows, after asking whether a slice of a batch may be run.

    TensorFlow turns a ``MemoryError`` of the question into its own ``ResourceExhaustedError``.
    """

    def __init__(self, decide: Decide, *shape: int | None) -> None:
        self.signature = Signature("test", (TensorField("x", "float32", shape or (4,)),))
        self._decide = decide

    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        def ask(x: np.ndarray) -> np.ndarray:
            self._decide(x)
            return x

        x = tf.numpy_function(ask, [inputs["x"]], tf.float32)
        return {"total": tf.ensure_shape(tf.reduce_sum(x, axis=1), [None])}


def limit(rows: int) -> Decide:
    def decide(x: np.ndarray) -> None:
        if len(x) > rows:
            raise MemoryError(f"{len(x)} rows")

    return decide


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def open_predictor(
    decide: Decide, replicas: int = 2, *, ahead: bool = False, **options: object
) -> Predictor:
    devices = [f"CPU:{index}" for index in range(replicas)]
    return Predictor(
        Scarce(decide),
        open_ahead(replicas) if ahead else open_replicas(devices),
        waits_seconds=(0.01, 0.01, 0.01),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("most", [1, 3, 10, 63])
@pytest.mark.parametrize("ahead", [False, True])
def test_smaller_batches_until_they_fit(replicas: int, most: int, ahead: bool) -> None:
    predictor = open_predictor(limit(most), replicas, ahead=ahead, rows=256)
    values = rows_of(1000)
    scored = predictor.predict({"x": values})
    predictor.close()
    assert not scored.errors
    np.testing.assert_allclose(scored.outputs["total"], values.sum(axis=1), rtol=1e-5, atol=1e-5)
    assert max(predictor.statistics.batches) <= most * replicas
    assert 0 < predictor.statistics.out_of_memory <= 9


def test_the_size_grows_again_but_never_to_what_failed() -> None:
    seen: list[int] = []
    scarce = threading.Event()
    scarce.set()

    def decide(x: np.ndarray) -> None:
        seen.append(len(x))
        if scarce.is_set() and len(x) > 8:
            raise MemoryError

    predictor = open_predictor(decide, 1, rows=64)
    predictor.predict({"x": rows_of(64)})
    scarce.clear()
    seen.clear()
    for _ in range(100):
        predictor.predict({"x": rows_of(64)})
    predictor.close()
    assert seen[0] == 8
    assert max(seen) == 12, "16 rows had failed"


def test_a_row_that_never_fits_fails_alone() -> None:
    def decide(x: np.ndarray) -> None:
        if (x > 1e6).any():
            raise MemoryError("too large")

    predictor = open_predictor(decide, 2, rows=8)
    values = rows_of(20)
    values[13] = 1e7
    scored = predictor.predict({"x": values})
    predictor.close()
    assert list(scored.errors) == [13]
    assert scored.errors[13].error == "ResourceExhaustedError"
    np.testing.assert_allclose(
        scored.outputs["total"], np.delete(values, 13, axis=0).sum(axis=1), rtol=1e-4, atol=1e-4
    )


def test_memory_that_comes_back_in_time_costs_no_row() -> None:
    refused = iter(range(4))

    def decide(x: np.ndarray) -> None:
        if x.any() and next(refused, None) is not None:
            raise MemoryError

    predictor = open_predictor(decide, 1, rows=2)
    values = rows_of(7)
    scored = predictor.predict({"x": values})
    predictor.close()
    assert not scored.errors
    np.testing.assert_allclose(scored.outputs["total"], values.sum(axis=1), rtol=1e-5, atol=1e-5)


def test_devices_without_any_memory_stop_the_job_and_fail_no_row() -> None:
    scarce = threading.Event()

    def decide(x: np.ndarray) -> None:
        if scarce.is_set():
            raise MemoryError("another tenant")

    predictor = open_predictor(decide, 2, rows=8)
    scarce.set()
    with pytest.raises(OutOfDeviceMemoryError, match="expected device memory for one row"):
        predictor.predict({"x": rows_of(8)})
    assert predictor.is_closed


@pytest.mark.parametrize("block", range(10))
def test_random_failures_under_four_threads(block: int) -> None:
    rng = np.random.default_rng(block)
    guard = threading.Lock()

    def decide(x: np.ndarray) -> None:
        with guard:
            unlucky = rng.random() < 0.3
        if len(x) > 1 and unlucky:
            raise MemoryError

    predictor = open_predictor(decide, 2, ahead=block % 2 == 0, rows=16)
    for schedule in range(20):

        def score(seed: int) -> None:
            values = rows_of(seed % 13 * 3, seed)
            scored = predictor.predict({"x": values})
            assert not scored.errors
            np.testing.assert_allclose(
                scored.outputs["total"], values.sum(axis=1), rtol=1e-5, atol=1e-5
            )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(score, range(schedule * 8, schedule * 8 + 8)))
    assert predictor.statistics.out_of_memory > 0
    predictor.close()


_PROGRAM = """
import json, logging
import numpy as np, tensorflow as tf
logging.basicConfig(level=logging.WARNING)
from transforms.engine.predictor import Predictor
from transforms.engine.replicas import open_replicas
from transforms.engine.signature import Signature, TensorField

class Model:
    signature = Signature("test", (TensorField("x", "float32", (4,)),))
    def __call__(self, inputs):
        x = inputs["x"]
        MODEL

predictor = Predictor(Model(), open_replicas(), rows=1024)
x = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
scored = predictor.predict({"x": x})
predictor.close()
error = float(np.abs(scored.outputs["total"] - x.sum(axis=1)).max())
print(json.dumps({"error": error, "failed": len(scored.errors),
                  "out_of_memory": predictor.statistics.out_of_memory,
                  "largest": max(predictor.statistics.batches)}))
"""

# 640 kB a row: what fits is decided by an allocator with a limit, as on a GPU.
_WIDE = "return {'total': tf.reduce_sum(tf.repeat(x, 40000, axis=1) * 2.0, axis=1) / 80000.0}"
# From 200 rows on it asks for 16 TiB.
_ABSURD = (
    "side = tf.where(tf.shape(x)[0] > 200, 1 << 22, 1); "
    "nothing = tf.reduce_sum(tf.zeros([side, 1024, 1024])); "
    "return {'total': tf.reduce_sum(x, axis=1) + nothing}"
)
_LIMITED = {"TF_CPU_ALLOCATOR_USE_BFC": "1", "TF_CPU_BFC_MEM_LIMIT_IN_MB": "300"}


@pytest.mark.parametrize(
    ("model", "allocator", "most_rows"),
    [(_WIDE, _LIMITED, 500), (_ABSURD, {}, 200)],
    ids=["allocator with a limit", "absurd allocation"],
)
def test_a_real_allocation_failure(model: str, allocator: dict[str, str], most_rows: int) -> None:
    environment = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = python(
        "-c", _PROGRAM.replace("MODEL", model), env=os.environ | environment | allocator
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["error"] < 1e-3
    assert figures["failed"] == 0
    assert 1 <= figures["out_of_memory"] <= 4
    assert figures["largest"] <= most_rows
    assert "a batch of 1024 rows did not fit the memory; going on with at most" in done.stderr
