"""Devices that run by themselves: the same rows, each on its own copy, none waiting for another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.engine.loading import load_model
from transforms.engine.model import ModelSpec
from transforms.engine.predictor import Predictor
from transforms.engine.replicas import DISPATCHES, Replicas, open_replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.step import Step

pytestmark = pytest.mark.usefixtures("logical_cpus")

X = TensorField("x", "float32", (4,))


class Model:
    """A model that is a function of its input, and of the rows as the host sees them."""

    def __init__(self, look: Callable[[np.ndarray], None] | None = None) -> None:
        self.signature = Signature("test", (X,))
        self._look = look

    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        x = inputs["x"]
        if self._look is not None:
            look = self._look

            def see(rows: np.ndarray) -> np.ndarray:
                look(rows)
                return rows

            x = tf.ensure_shape(tf.numpy_function(see, [x], tf.float32), [None, 4])
        bad = tf.debugging.assert_less(x, 1e6, "a bad row")
        with tf.control_dependencies([bad]):
            return {"total": tf.reduce_sum(x, axis=1), "x": tf.identity(x)}


@pytest.fixture
def opened() -> Iterator[Callable[..., Predictor]]:
    predictors: list[Predictor] = []

    def open_one(model: Model, replicas: int, **options: object) -> Predictor:
        devices = open_replicas([f"CPU:{index}" for index in range(replicas)])
        predictors.append(
            Predictor(model, devices, waits_seconds=(0.01, 0.01), **options)  # type: ignore[arg-type]
        )
        return predictors[-1]

    yield open_one
    for predictor in predictors:
        predictor.close()


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def dispatchers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "mirrorbeam-" in thread.name]


@pytest.mark.parametrize("dispatch", DISPATCHES)
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_values_order_and_counts_under_many_threads(
    opened: Callable[..., Predictor], replicas: int, dispatch: str
) -> None:
    predictor = opened(Model(), replicas, rows=8, dispatch=dispatch)

    def score(seed: int) -> int:
        values = rows_of(seed * 7 % 50, seed)
        scored = predictor.predict({"x": values})
        assert not scored.errors
        np.testing.assert_array_equal(scored.outputs["x"], values)
        np.testing.assert_allclose(
            scored.outputs["total"], values.sum(axis=1), rtol=1e-5, atol=1e-5
        )
        return len(values)

    with ThreadPoolExecutor(6) as pool:
        rows = sum(pool.map(score, range(120)))
    predictor.close()
    assert predictor.statistics.rows == rows
    run = sum(size * times for size, times in predictor.statistics.batches.items())
    assert run == rows + predictor.statistics.padded_rows
    assert predictor.traces == replicas
    assert predictor.statistics.busy_seconds > 0


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_closing_ends_every_thread(opened: Callable[..., Predictor], dispatch: str) -> None:
    before = sorted(dispatchers())
    predictor = opened(Model(), 3, rows=6, dispatch=dispatch)
    predictor.predict({"x": rows_of(20)})
    assert len(dispatchers()) > len(before)
    predictor.close()
    assert sorted(dispatchers()) == before
    with pytest.raises(RuntimeError, match="expected an open predictor"):
        predictor.submit({"x": rows_of(1)})


def saved_keras(folder: Path) -> Path:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    )
    model.save(folder / "model.keras")
    return folder / "model.keras"


def saved_model(folder: Path) -> Path:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.export(folder / "exported", verbose=False)
    return folder / "exported"


def saved_by_tensorflow_1(folder: Path) -> Path:
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 4])
        weights = tf.compat.v1.get_variable("w", [4, 3])
        y = tf.matmul(x, weights)
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.saved_model.simple_save(session, str(folder / "old"), {"x": x}, {"y": y})
    return folder / "old"


@pytest.mark.parametrize("save", [saved_keras, saved_model, saved_by_tensorflow_1])
def test_each_device_computes_with_its_own_copy(
    tmp_path: Path, save: Callable[[Path], Path]
) -> None:
    replicas = open_replicas(["CPU:0", "CPU:1", "CPU:2"])
    model = load_model(ModelSpec(str(save(tmp_path))), replicas.strategy)
    # Copies that differ show which one was used.
    for index, variables in enumerate(model.replica_variables):
        for variable in variables:
            variable.assign(variable * (index + 1.0))
    fields = model.signature.inputs
    slices = [{fields[0].name: rows_of(5)}] * 3
    together = Step(model, replicas, fields)(slices)
    for index, part in enumerate(replicas.apart()):
        step = Step(model, part, fields)
        (alone,) = step(slices[:1])
        captures = step.function.graph.external_captures
        captured = {tensor.device.split("task:0")[-1] for tensor in captures}
        assert captured == {replicas.devices[index]}
        for name, values in together[index].items():
            np.testing.assert_allclose(alone[name], values, rtol=1e-5, atol=1e-6)
    name = next(iter(together[0]))
    assert not np.allclose(together[0][name], together[1][name])


def test_a_slow_batch_holds_no_other_device(opened: Callable[..., Predictor]) -> None:
    others_are_done = threading.Event()
    waited: list[bool] = []

    def look(rows: np.ndarray) -> None:
        if rows.max() > 100:
            waited.append(others_are_done.wait(300))

    predictor = opened(Model(look), 2, rows=4, dispatch="independent")
    slow = predictor.submit({"x": np.full((2, 4), 1000, np.float32)})
    for seed in range(20):
        values = rows_of(6, seed)
        scored = predictor.predict({"x": values})
        np.testing.assert_array_equal(scored.outputs["x"], values)
    assert not slow.done()
    others_are_done.set()
    np.testing.assert_array_equal(slow.result().outputs["total"], [4000, 4000])
    assert waited == [True]


@pytest.mark.parametrize("dispatch", DISPATCHES)
@pytest.mark.parametrize("most", [1, 5])
def test_what_does_not_fit_runs_in_smaller_batches(
    opened: Callable[..., Predictor], dispatch: str, most: int
) -> None:
    def look(rows: np.ndarray) -> None:
        if len(rows) > most:
            raise MemoryError

    predictor = opened(Model(look), 3, rows=96, dispatch=dispatch)
    values = rows_of(500)
    scored = predictor.predict({"x": values})
    assert not scored.errors
    np.testing.assert_array_equal(scored.outputs["x"], values)
    assert 0 < predictor.statistics.out_of_memory <= 20
    assert predictor.batch_rows <= 3 * most


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_bad_rows_fail_alone(opened: Callable[..., Predictor], dispatch: str) -> None:
    predictor = opened(Model(), 3, rows=24, dispatch=dispatch)
    values = rows_of(200)
    bad = [0, 7, 8, 77, 131, 199]
    values[bad] = 1e7
    scored = predictor.predict({"x": values})
    assert sorted(scored.errors) == bad
    np.testing.assert_array_equal(scored.outputs["x"], np.delete(values, bad, axis=0))
    assert predictor.statistics.rows == len(values) - len(bad)


def test_a_dispatcher_that_fails_ends_all(opened: Callable[..., Predictor]) -> None:
    scarce = threading.Event()

    def look(rows: np.ndarray) -> None:
        if scarce.is_set():
            raise MemoryError("another tenant")

    predictor = opened(Model(look), 2, rows=8, dispatch="independent")
    scarce.set()
    futures = [predictor.submit({"x": rows_of(30)}) for _ in range(3)]
    for future in futures:
        with pytest.raises(RuntimeError, match="expected device memory for one row"):
            future.result()
    predictor.close()
    assert predictor.is_closed


def test_the_batch_size_is_searched_for_all_devices_together(
    opened: Callable[..., Predictor],
) -> None:
    found: list[int] = []
    predictor = opened(
        Model(), 2, dispatch="independent", on_tuned=lambda sizer: found.append(sizer.found_rows)
    )
    values = rows_of(1 << 17)
    for _ in range(400):
        if found:
            break
        for future in [predictor.submit({"x": values}) for _ in range(3)]:
            future.result()
    assert found
    assert found[0] % 2 == 0
    assert predictor.batch_rows == predictor.sizer.found_rows
    assert predictor.time_batch({"x": rows_of(64)}) > 0


def test_parts_take_their_own_place(logical_cpus: int) -> None:
    replicas: Replicas = open_replicas(["CPU:1", "CPU:3"])
    parts = replicas.apart()
    assert [part.devices[0][-5:] for part in parts] == ["CPU:1", "CPU:3"]
    assert [(part.first, part.count, part.in_all) for part in parts] == [(0, 1, 2), (1, 1, 2)]
