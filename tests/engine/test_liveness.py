"""What lives at once, by hand on small recordings and measured on whole models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.models import mlp_export, mlp_keras, tf1_saved_model
from tests.processes import python
from transforms.engine.liveness import (
    CHUNK_SHARE,
    peak_bytes_of,
    run_ahead_bytes,
    static_fit,
)
from transforms.engine.loading import load_model
from transforms.engine.recording import Operation, Recording, Value, breadth_first
from transforms.engine.replay import record
from transforms.engine.replicas import open_replicas
from transforms.engine.step import Step

pytestmark = pytest.mark.usefixtures("logical_cpus")



def recording(*operations: Operation, results: str, **arguments: int) -> Recording:
    given = tuple(Value(name, size) for name, size in arguments.items())
    return Recording(given, operations, tuple(results.split()))


def operation(kind: str, inputs: str, *outputs: Value, **more: Any) -> Operation:
    return Operation(kind, tuple(inputs.split()), outputs, **more)


def test_what_nothing_reads_any_more_is_gone() -> None:
    chain = recording(
        operation("MatMul", "x", Value("a", 30)),
        operation("MatMul", "a", Value("b", 20)),
        operation("MatMul", "b", Value("c", 10)),
        results="c",
        x=100,
    )
    assert peak_bytes_of(chain) == 100 + 30 + 20
    # On a GPU the input is a copy, which goes as well.
    assert peak_bytes_of(chain, "GPU") == 100 + 30


def test_what_is_still_read_stays() -> None:
    residual = recording(
        operation("MatMul", "x", Value("a", 30)),
        operation("MatMul", "a", Value("b", 20)),
        operation("MatMul", "b", Value("c", 10)),
        operation("ConcatV2", "a c", Value("d", 40)),
        results="d",
        x=0,
    )
    assert peak_bytes_of(residual) == 30 + 10 + 40


def test_elementwise_operations_write_into_what_they_read_last() -> None:
    once = recording(
        operation("MatMul", "x", Value("a", 30)),
        operation("BiasAdd", "a bias", Value("b", 30)),
        operation("Relu", "b", Value("c", 30)),
        results="c",
        x=1,
        bias=1,
    )
    assert peak_bytes_of(once) == 32
    twice = recording(
        operation("MatMul", "x", Value("a", 30)),
        operation("Sigmoid", "a", Value("b", 30)),
        operation("Mul", "a b", Value("c", 30)),
        results="c",
        x=1,
    )
    assert peak_bytes_of(twice) == 61
    # An argument is the caller's, and a smaller output does not take over a larger buffer.
    assert peak_bytes_of(recording(operation("Relu", "x", Value("a", 9)), results="a", x=9)) == 18


def test_reshapes_copy_nothing() -> None:
    shaped = recording(
        operation("MatMul", "x", Value("a", 30)),
        operation("Reshape", "a", Value("b", 30)),
        operation("MatMul", "b", Value("c", 10)),
        operation("MatMul", "a", Value("d", 10)),
        results="c d",
        x=0,
    )
    assert peak_bytes_of(shaped) == 30 + 10 + 10


def test_strings_are_on_no_gpu() -> None:
    text = Recording((Value("words", 24, on_host=True), Value("x", 10)), (), ("words", "x"))
    assert [peak_bytes_of(text, kind) for kind in ("CPU", "GPU")] == [34, 10]


def test_an_executor_takes_up_first_what_was_ready_first() -> None:
    branches = recording(
        operation("MatMul", "x", Value("a", 30)),
        operation("Mean", "a", Value("b", 1)),
        operation("MatMul", "x", Value("c", 30)),
        operation("Mean", "c", Value("d", 1)),
        operation("ConcatV2", "b d", Value("e", 2)),
        results="e",
        x=0,
    )
    assert peak_bytes_of(branches) == 32
    assert peak_bytes_of(breadth_first(branches)) == 61


TURN = Recording(
    (Value("list", 0), Value("count", 4), Value("state", 64)),
    (
        operation("TensorListGetItem", "list count", Value("item", 16)),
        operation("MatMul", "item", Value("projected", 32)),
        operation("MatMul", "state", Value("recurrent", 32)),
        operation("Add", "projected recurrent", Value("sum", 32)),
        operation("MatMul", "sum", Value("next", 64)),
        operation("Add", "count", Value("later", 4)),
    ),
    ("list", "later", "next"),
)


def test_a_loop_runs_ahead_with_what_does_not_wait_for_the_turn_before() -> None:
    assert run_ahead_bytes(TURN) == 32


def test_loops_that_wait_for_nothing_run_at_the_same_time() -> None:
    one = operation("While", "x", Value("a", 5), body=TURN)
    other = operation("While", "x", Value("b", 5), body=TURN)
    after = operation("While", "a", Value("b", 5), body=TURN)
    # The sum, in the place of what was projected, and the next state.
    inside = 32 + 64
    alone = peak_bytes_of(recording(one, results="a", x=0))
    assert alone == 5 + inside
    assert peak_bytes_of(recording(one, other, results="a b", x=0)) == 10 + 2 * inside
    assert peak_bytes_of(recording(one, after, results="a b", x=0)) == 10 + inside


def recorded(call: Callable[[tf.Tensor], tf.Tensor], *shape: int | None, rows: int) -> Recording:
    """A function of rows, traced with a free row dimension and replayed for so many."""
    spec = tf.TensorSpec([None, *shape], tf.float32)
    function = tf.function(call, input_signature=[spec]).get_concrete_function()
    return record(function, [tuple(size or 7 for size in shape)], rows, 1)


def sizes_of(found: Recording, kind: str) -> list[int]:
    return [
        value.size_bytes
        for operation in found.operations
        if operation.kind == kind
        for value in operation.outputs
    ]


def test_calls_are_followed_with_the_shapes_they_get() -> None:
    @tf.function
    def inner(values: tf.Tensor) -> tf.Tensor:
        return tf.tile(tf.reshape(values, [tf.shape(values)[0], 2, -1]), [1, 1, 3])

    @tf.function
    def outer(values: tf.Tensor) -> tf.Tensor:
        return inner(values) * 2.0

    found = recorded(outer, 6, rows=5)
    assert sizes_of(found, "Tile") == [5 * 6 * 3 * 4]
    assert "StatefulPartitionedCall" not in {operation.kind for operation in found.operations}


def test_free_dimensions_get_the_sizes_of_a_batch() -> None:
    found = recorded(lambda values: tf.tile(values, [1, 2, 1]), None, 3, rows=5)
    assert sizes_of(found, "Tile") == [5 * 14 * 3 * 4]


def test_both_branches_count() -> None:
    def choose(values: tf.Tensor) -> tf.Tensor:
        small = lambda: tf.tile(values, [1, 2])[:, :4]  # noqa: E731
        large = lambda: tf.tile(values, [1, 8])[:, :4]  # noqa: E731
        return tf.cond(tf.reduce_sum(values) > 0, small, large)

    found = recorded(choose, 4, rows=3)
    assert sorted(sizes_of(found, "Tile")) == [3 * 8 * 4, 3 * 32 * 4]


def test_a_loop_keeps_the_items_of_all_its_turns() -> None:
    def every_step(values: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda step: tf.tile(step, [1, 2]), tf.transpose(values, [1, 0, 2]))

    found = recorded(every_step, 11, 3, rows=5)
    (loop,) = (operation for operation in found.operations if operation.body)
    assert max(value.size_bytes for value in loop.outputs) == 11 * 5 * 6 * 4
    assert sizes_of(found, "TensorListStack") == [11 * 5 * 6 * 4]
    assert sizes_of(loop.body, "Tile") == [5 * 6 * 4]


def test_what_results_do_not_need_is_left_out() -> None:
    def both(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return values + 1.0, tf.tile(values, [1, 9])

    assert sizes_of(recorded(both, 4, rows=3), "Tile") == []


def fit_of(factory: Callable[[Path], Any], folder: Path) -> Any:
    replicas = open_replicas(("CPU:0", "CPU:1"))
    spec, _ = factory(folder)
    model = load_model(spec, replicas.strategy)
    step = Step(model, replicas, model.signature.inputs)
    return static_fit(step, {field.name: field.shape for field in step.fields}, "CPU"), model


def test_a_saved_model_takes_what_its_keras_model_takes(tmp_path: Path) -> None:
    keras_fit, keras_model = fit_of(mlp_keras, tmp_path)
    saved_fit, _ = fit_of(mlp_export, tmp_path)
    assert saved_fit.bytes_per_row == pytest.approx(keras_fit.bytes_per_row)
    # 8 features, 16 hidden units, 3 scores; the hidden layer and its input or output at once.
    assert keras_fit.bytes_per_row == pytest.approx(CHUNK_SHARE * 4 * (8 + 16 + 3))
    assert keras_fit.fixed_bytes == pytest.approx(keras_model.bytes_per_device, abs=64)


def test_a_graph_of_tensorflow_1_can_be_read(tmp_path: Path) -> None:
    found, model = fit_of(tf1_saved_model, tmp_path)
    assert found.bytes_per_row > 0
    assert found.fixed_bytes <= model.bytes_per_device + 64


MEASURE = """
import functools, json, sys
from benchmarks.allocations import asked_bytes
from benchmarks.memory_fit import run_to_the_end
from benchmarks.memory_models import MODELS, draw_rows
from transforms.engine.liveness import static_fit
from transforms.engine.replicas import open_replicas
from transforms.engine.signature import Signature, TensorField
from transforms.engine.step import Step

class Model:
    def __init__(self, model):
        (value,) = model.inputs
        self.field = TensorField(value.name, value.dtype, tuple(value.shape[1:]))
        self.signature = Signature("test", (self.field,))
        self.model = model
    def __call__(self, inputs):
        return {"scores": self.model(inputs[self.field.name], training=False)}

replicas = open_replicas(("CPU:0",))
ROWS = {"mlp": 1024, "cnn": 32, "lstm": 2048, "embedding": 256, "attention": 128}
found = {}
for name, build in MODELS.items():
    with replicas.strategy.scope():
        model = Model(build())
    step = Step(model, replicas, (model.field,))
    estimate = static_fit(step, {model.field.name: model.field.shape}, "CPU")
    run = functools.partial(run_to_the_end, step, [draw_rows(model.field, ROWS[name])])
    run()
    asked = max(asked_bytes(run) for _ in range(3))
    found[name] = [asked / ROWS[name], estimate.bytes_per_row]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def bytes_per_row() -> dict[str, list[float]]:
    """By model the measured and the estimated bytes per row.

    Measured is what tensors ask the allocator for on top of the weights, which no history of the
    allocator changes. The order of operations, and with it the peak, changes from run to run: the
    highest of three counts.
    """
    done = python("-c", MEASURE, env=os.environ | {"TF_NUM_INTEROP_THREADS": "1"})
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm", "embedding", "attention"])
def test_estimates_are_within_15_percent_of_what_is_measured(
    bytes_per_row: dict[str, list[float]], name: str
) -> None:
    measured, estimated = bytes_per_row[name]
    assert estimated / CHUNK_SHARE == pytest.approx(measured, rel=0.15)
