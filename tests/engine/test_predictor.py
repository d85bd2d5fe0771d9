"""The predictor against a plain loop over the bare model, on one, two and three replicas."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tests.engine.ahead import open_ahead
from transforms.engine.errors import SetupError
from transforms.engine.group_queue import GroupQueue
from transforms.engine.groups import Group, Scored
from transforms.engine.predictor import Predictor
from transforms.engine.recovery import DeviceFailedError
from transforms.engine.replicas import Replicas, open_replicas
from transforms.engine.signature import Signature, TensorField

pytestmark = pytest.mark.usefixtures("logical_cpus")

Call = Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]


class Model:
    """A model that is a function."""

    def __init__(self, call: Call, *inputs: TensorField) -> None:
        self.signature = Signature("test", inputs)
        self._call = call

    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self._call(inputs)


X = TensorField("x", "float32", (4,))
GROUP_BYTES = 40
WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def linear(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {"y": tf.matmul(inputs["x"], WEIGHTS), "total": tf.reduce_sum(inputs["x"], axis=1)}


def fails_on_negative(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    with tf.control_dependencies([tf.debugging.assert_non_negative(inputs["x"], "a bad row")]):
        return {"y": tf.identity(inputs["x"][:, 0])}


@pytest.fixture(params=["1", "2", "3", "2, ahead"])
def replicas(request: pytest.FixtureRequest, logical_cpus: int) -> Replicas:
    count, _, ahead = request.param.partition(", ")
    if ahead:
        return open_ahead(int(count))
    return open_replicas([f"CPU:{index}" for index in range(int(count))])


@pytest.fixture
def opened() -> Iterator[Callable[..., Predictor]]:
    predictors: list[Predictor] = []

    def open_one(*args: object, **options: object) -> Predictor:
        predictors.append(Predictor(*args, **options))  # type: ignore[arg-type]
        return predictors[-1]

    yield open_one
    for predictor in predictors:
        predictor.close()


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 16, 17, 100])
def test_values_order_and_count(
    opened: Callable[..., Predictor], replicas: Replicas, rows: int
) -> None:
    predictor = opened(Model(linear, X), replicas, rows=16)
    values = rows_of(rows)
    scored = predictor.predict({"x": values})
    assert list(scored.outputs) == ["y", "total"]
    np.testing.assert_allclose(scored.outputs["y"], values @ WEIGHTS, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scored.outputs["total"], values.sum(axis=1), rtol=1e-5, atol=1e-6)
    assert not scored.errors


def test_outputs_are_known_from_the_trace(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(Model(linear, X), replicas)
    assert predictor.outputs == (
        TensorField("y", "float32", (3,)),
        TensorField("total", "float32", ()),
    )


def test_groups_share_batches_and_no_size_traces_again(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(Model(linear, X), replicas, rows=12)
    traces = predictor.traces
    groups = [rows_of(size, size) for size in range(1, 40)]
    futures = [predictor.submit({"x": group}) for group in groups]
    for group, future in zip(groups, futures, strict=True):
        np.testing.assert_allclose(
            future.result().outputs["y"], group @ WEIGHTS, rtol=1e-5, atol=1e-6
        )
    assert predictor.traces == traces == replicas.count
    assert sum(predictor.statistics.batches.values()) < sum(map(len, groups)) / 8
    assert max(predictor.statistics.batches) <= 12


def test_many_threads(opened: Callable[..., Predictor], replicas: Replicas) -> None:
    predictor = opened(Model(linear, X), replicas, rows=8)

    def score(seed: int) -> bool:
        values = rows_of(seed % 23 + 1, seed)
        return np.allclose(
            predictor.predict({"x": values}).outputs["y"], values @ WEIGHTS, rtol=1e-4, atol=1e-5
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(score, range(200)))


def test_no_rows(opened: Callable[..., Predictor], replicas: Replicas) -> None:
    scored = opened(Model(linear, X), replicas).predict({"x": rows_of(0)})
    assert scored.outputs["y"].shape == (0, 3)
    assert scored.outputs["y"].dtype == np.float32


@pytest.mark.parametrize("bad", [[0], [16], [3, 4, 15], list(range(17))])
def test_bad_rows_fail_alone(
    opened: Callable[..., Predictor], replicas: Replicas, bad: list[int]
) -> None:
    predictor = opened(Model(fails_on_negative, X), replicas, rows=8)
    values = np.abs(rows_of(17)) + 1
    values[bad] *= -1
    scored = predictor.predict({"x": values})
    assert sorted(scored.errors) == bad
    np.testing.assert_array_equal(
        scored.outputs["y"], np.delete(values[:, 0], bad).astype(np.float32)
    )
    for reason in scored.errors.values():
        assert reason.error == "InvalidArgumentError"
        assert "a bad row" in reason.message


def test_bad_rows_of_groups_that_share_a_batch(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    gate = threading.Event()

    def wait() -> np.float32:
        gate.wait()
        return np.float32(0)

    def call(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        zero = tf.ensure_shape(tf.numpy_function(wait, [], tf.float32, stateful=True), [])
        return fails_on_negative({"x": inputs["x"] + zero})

    gate.set()
    predictor = opened(Model(call, X), replicas, rows=64)
    gate.clear()
    groups = [np.abs(rows_of(5, seed)) + 1 for seed in range(6)]
    groups[2][1] *= -1
    groups[5][4] *= -1
    futures = [predictor.submit({"x": group}) for group in groups]
    gate.set()
    failed = {
        (index, row) for index, future in enumerate(futures) for row in future.result().errors
    }
    assert failed == {(2, 1), (5, 4)}
    for group, future in zip(groups, futures, strict=True):
        good = group[(group > 0).all(axis=1), 0]
        np.testing.assert_allclose(future.result().outputs["y"], good)


def test_rows_of_different_shapes_run_apart(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    free = TensorField("x", "float32", (None,))
    predictor = opened(
        Model(lambda inputs: {"y": tf.reduce_sum(inputs["x"], axis=1)}, free), replicas
    )
    traces = predictor.traces
    groups = [np.full((3, length), length, np.float32) for length in (1, 5, 2, 5, 9)]
    futures = [predictor.submit({"x": group}) for group in groups]
    for group, future in zip(groups, futures, strict=True):
        np.testing.assert_allclose(future.result().outputs["y"], group.sum(axis=1))
    assert predictor.traces == traces


def test_an_output_without_rows_is_repeated(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(
        Model(lambda inputs: {"y": inputs["x"][:, 0], "version": tf.constant(7)}, X), replicas
    )
    np.testing.assert_array_equal(predictor.predict({"x": rows_of(5)}).outputs["version"], [7] * 5)


def test_strings(opened: Callable[..., Predictor], replicas: Replicas) -> None:
    text = TensorField("text", "string", ())
    predictor = opened(
        Model(lambda inputs: {"upper": tf.strings.upper(inputs["text"])}, text), replicas
    )
    words = np.array([b"one", b"two", b"drei", b""], dtype=object)
    assert predictor.predict({"text": words}).outputs["upper"].tolist() == [
        b"ONE",
        b"TWO",
        b"DREI",
        b"",
    ]


def test_preprocessing_is_traced_on_the_first_batch(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(
        Model(linear, X), replicas, preprocess=lambda a, b: tf.cast(a, tf.float32) / b[:, None]
    )
    assert predictor.outputs is None
    a = np.arange(20, dtype=np.uint8).reshape(5, 4)
    b = np.arange(1, 6, dtype=np.float32)
    scored = predictor.predict({"a": a, "b": b})
    np.testing.assert_allclose(
        scored.outputs["y"], (a / b[:, None]).astype(np.float32) @ WEIGHTS, rtol=1e-5
    )
    assert predictor.traces == replicas.count


def test_preprocessing_that_gives_strings_for_numbers_is_refused(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(Model(linear, X), replicas, preprocess=tf.strings.as_string)
    with pytest.raises(SetupError, match=r"return 'x' as float32.*Received: string"):
        predictor.predict({"input": np.ones((2, 4), np.float32)})


def test_a_column_that_changes_its_length_is_traced_once_more(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(
        Model(linear, X), replicas, preprocess=lambda a: tf.repeat(a[:, :1], 4, axis=1)
    )
    for length in (3, 4, 5, 6):
        values = np.full((2, length), length, np.float32)
        np.testing.assert_allclose(
            predictor.predict({"a": values}).outputs["total"], [4.0 * length] * 2
        )
    assert predictor.traces == 2 * replicas.count


def test_more_entries_than_rows_are_not_taken_for_rows(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    free = TensorField("x", "float32", (None,))
    call = Model(lambda inputs: {"both": tf.concat([inputs["x"], -inputs["x"]], axis=0)}, free)
    predictor = opened(call, replicas)
    with pytest.raises(SetupError, match="expected output 'both' with one entry for each row"):
        predictor.predict({"x": rows_of(40)})


def test_an_output_of_fixed_length_is_refused_before_the_first_row(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    with pytest.raises(SetupError, match=r"expected output 'words'.*\[100\] however many rows"):
        opened(Model(lambda inputs: linear(inputs) | {"words": tf.range(100)}, X), replicas)


def test_rows_are_not_held_back_for_a_group_that_waits_for_room() -> None:
    queue = GroupQueue(2 * GROUP_BYTES, max_wait_seconds=3600)
    groups = [Group({"x": np.zeros(10, np.float32)}, Future()) for _ in range(3)]
    with ThreadPoolExecutor(1) as threads:
        puts = [threads.submit(queue.put, group) for group in groups]
        taken = queue.take(lambda group: 1000, running=None)
        assert [share.group for share in taken] == groups[:2]
        queue.settled(groups[:2])
        assert [put.result() for put in puts] == [True] * 3


def test_a_model_that_does_not_keep_rows_stops_everything(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    free = TensorField("x", "float32", (None,))
    predictor = opened(Model(lambda inputs: {"mean": inputs["x"][:1]}, free), replicas, rows=64)
    futures = [predictor.submit({"x": rows_of(40)}) for _ in range(3)]
    for future in futures:
        with pytest.raises(SetupError, match="expected output 'mean' with one entry for each row"):
            future.result()
    with pytest.raises(RuntimeError, match="expected an open predictor"):
        predictor.submit({"x": rows_of(1)})


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda x: x[:3], r"output '\w+' with one entry for each row. Received: shape \[3\b"),
        (lambda x: tf.concat([x, x], axis=0), r"output '\w+' with one entry for each row"),
        (lambda x: tf.zeros([3, 4]), r"return 'x' with one entry for each row.*shape \[3, 4\]"),
        (lambda x: tf.reduce_sum(x) + 1, r"return 'x' with one entry for each row.*shape \[\]"),
        (lambda x: x[:, :3], r"return 'x' as float32\[\?,4\].*Received: float32\[\?,3\]"),
    ],
)
def test_preprocessing_of_other_shapes_is_refused_before_the_first_row(
    opened: Callable[..., Predictor],
    replicas: Replicas,
    prepare: Callable[[tf.Tensor], tf.Tensor],
    message: str,
) -> None:
    with pytest.raises(SetupError, match=message):
        opened(Model(linear, X), replicas, fields=[X], preprocess=prepare)


def test_a_row_that_fails_on_several_devices_tells_the_cause(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(Model(fails_on_negative, X), replicas, rows=24)
    values = np.abs(rows_of(96))
    bad = range(0, 96, 3)
    values[bad] = -1
    errors = predictor.predict({"x": values}).errors
    assert list(errors) == list(bad)
    assert {error.error for error in errors.values()} == {"InvalidArgumentError"}
    assert {error.message[:29] for error in errors.values()} == {"assertion failed: [a bad row."}


def test_rows_that_a_model_passes_over_are_only_missed_among_real_ones(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    call = Model(lambda inputs: {"y": inputs["x"][tf.reduce_sum(inputs["x"], axis=1) > 0]}, X)
    predictor = opened(call, replicas)
    values = np.ones((20, 4), np.float32)
    np.testing.assert_array_equal(predictor.predict({"x": values}).outputs["y"], values)
    with pytest.raises(SetupError, match="expected output 'y' with one entry for each row"):
        predictor.predict({"x": np.arange(-40, 40, dtype=np.float32).reshape(20, 4)})


def test_what_does_not_trace_is_refused_at_once(replicas: Replicas) -> None:
    with pytest.raises(SetupError, match=r"expected the model to take x: float32\[\?,5\]"):
        Predictor(Model(linear, X), replicas, fields=[TensorField("x", "float32", (5,))])


def test_a_group_above_the_queue_bound_is_let_in_alone(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(Model(linear, X), replicas, rows=8, queue_bytes=64)
    values = rows_of(50)
    futures = [predictor.submit({"x": values}) for _ in range(4)]
    for future in futures:
        assert len(future.result().outputs["y"]) == 50


def test_rows_of_several_threads_share_a_batch(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(Model(linear, X), replicas, rows=12, max_wait_seconds=3600)
    started = threading.Barrier(3)

    def submit(_: int) -> Future[Scored]:
        started.wait()
        return predictor.submit({"x": rows_of(4)})

    with ThreadPoolExecutor(3) as threads:
        futures = list(threads.map(submit, range(3)))
    assert all(len(future.result().outputs["y"]) == 4 for future in futures)
    assert dict(predictor.statistics.batches) == {12: 1}
    assert predictor.statistics.shared_batches == 1


def test_rows_are_held_for_a_full_batch_only_until_somebody_waits(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    predictor = opened(Model(linear, X), replicas, rows=12, max_wait_seconds=3600)
    futures = [predictor.submit({"x": rows_of(4)}) for _ in range(3)]
    assert all(len(future.result().outputs["y"]) == 4 for future in futures)
    assert dict(predictor.statistics.batches) == {12: 1}
    assert predictor.statistics.shared_batches == 0
    assert len(predictor.predict({"x": rows_of(2)}).outputs["y"]) == 2


def test_close_finishes_what_is_queued(replicas: Replicas) -> None:
    predictor = Predictor(Model(linear, X), replicas, rows=8)
    futures = [predictor.submit({"x": rows_of(8)}) for _ in range(5)]
    predictor.close()
    predictor.close()
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="one that was closed"):
        predictor.submit({"x": rows_of(1)})


def test_columns_of_different_length(opened: Callable[..., Predictor], replicas: Replicas) -> None:
    with pytest.raises(ValueError, match="expected columns of one length"):
        opened(Model(linear, X), replicas).submit({"x": rows_of(2), "z": rows_of(3)})


def test_a_compiled_step(opened: Callable[..., Predictor], logical_cpus: int) -> None:
    predictor = opened(Model(linear, X), open_replicas(["CPU:0"]), rows=8, xla=True)
    values = rows_of(13)
    np.testing.assert_allclose(
        predictor.predict({"x": values}).outputs["y"], values @ WEIGHTS, rtol=1e-5, atol=1e-6
    )


def test_compiling_for_several_logical_cpus_is_refused(logical_cpus: int) -> None:
    with pytest.raises(ValueError, match=r"expected one CPU device with xla=True\. Received: 2"):
        Predictor(Model(linear, X), open_replicas(["CPU:0", "CPU:1"]), xla=True)


def test_a_shape_that_fills_a_batch_goes_before_an_older_one_that_does_not() -> None:
    queue = GroupQueue(1 << 20, None)
    future: Future[Scored] = Future()
    for length in (1, 2, 1, 2, 2):
        queue.put(Group({"x": np.zeros((4, length), np.float32)}, future))
    idle: Future[None] = Future()
    idle.set_result(None)
    taken = [queue.take(lambda group: 12, idle) for _ in range(2)]
    assert [sum(share.rows for share in shares) for shares in taken] == [12, 8]
    assert taken[0][0].group.columns["x"].shape == (4, 2)
    assert not queue.take(lambda group: 12, idle)


def test_rows_that_all_have_one_of_many_shapes_are_tuned(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    free = TensorField("x", "float32", (None,))
    call = Model(lambda inputs: {"y": tf.reduce_sum(inputs["x"], axis=1)}, free)
    kept: list[int] = []
    predictor = opened(call, replicas, on_tuned=lambda sizer: kept.append(sizer.found_rows))
    values = np.ones((4096, 5), np.float32)
    for _ in range(60):
        predictor.predict({"x": values})
    assert predictor.sizer.tuner is not None
    predictor.predict({"x": np.ones((3, 1 << 20), np.float32)})
    assert predictor.batch_rows <= 3 * replicas.count
    assert not kept


def test_preprocessing_that_fails_is_named(replicas: Replicas) -> None:
    def prepare(x: tf.Tensor) -> tf.Tensor:
        raise KeyError("no such lookup")

    with pytest.raises(SetupError, match=r"preprocess to take x: float32\[\?,4\].*no such"):
        Predictor(Model(linear, X), replicas, fields=[X], preprocess=prepare)


def test_an_output_whose_width_depends_on_the_batch_is_refused(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    def call(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        first = tf.cast(inputs["x"][:, 0], tf.int32)
        return {"y": tf.one_hot(first, tf.reduce_max(first) + 1)}

    predictor = opened(Model(call, X), replicas, rows=8)
    values = np.arange(50, dtype=np.float32)[:, None].repeat(4, axis=1)
    with pytest.raises(SetupError, match="expected output 'y' of one shape for rows of one shape"):
        predictor.predict({"x": values})


def test_what_xla_cannot_compile_is_refused_at_once(logical_cpus: int) -> None:
    text = Model(lambda inputs: {"y": tf.strings.as_string(inputs["x"][:, 0])}, X)
    with pytest.raises(SetupError, match=r"expected a model that XLA can compile.*xla=True"):
        Predictor(text, open_replicas(["CPU:0"]), xla=True)


def test_a_device_that_fails_at_what_it_did_before_stops_the_job_and_fails_no_row(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    broken = threading.Event()

    def look(x: np.ndarray) -> np.ndarray:
        if broken.is_set():
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")
        return x

    def call(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        x = tf.numpy_function(look, [inputs["x"]], tf.float32)
        return linear({"x": tf.ensure_shape(x, [None, 4])})

    predictor = opened(Model(call, X), replicas, rows=8)
    values = rows_of(20)
    predictor.predict({"x": values})
    broken.set()
    with pytest.raises(DeviceFailedError, match="expected the devices to run what they ran before"):
        predictor.predict({"x": values})
    assert predictor.is_closed


def test_a_row_that_breaks_a_function_of_python_fails_alone(
    opened: Callable[..., Predictor], replicas: Replicas
) -> None:
    def look(x: np.ndarray) -> np.ndarray:
        if (x > 1e6).any():
            raise RuntimeError("too large")
        return x

    def call(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        x = tf.numpy_function(look, [inputs["x"]], tf.float32)
        return linear({"x": tf.ensure_shape(x, [None, 4])})

    predictor = opened(Model(call, X), replicas, rows=8)
    values = rows_of(20)
    values[7] = 1e7
    scored = predictor.predict({"x": values})
    assert {row: error.error for row, error in scored.errors.items()} == {7: "UnknownError"}
