"""Every kind of model on 1, 2 and 3 replicas, against the bare model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import models
from tests.references import Arrays, Reference
from transforms.engine.loading import LoadedModel, load_model
from transforms.engine.model import ModelSpec

pytestmark = pytest.mark.usefixtures("logical_cpus")

Factory = Callable[[Path], tuple[ModelSpec, Reference]]

KERAS = [
    models.mlp_keras,
    models.mlp_h5,
    models.mlp_weights,
    models.multi_keras,
    models.listed_keras,
    models.custom_layer_keras,
    models.subclassed_keras,
    models.sequence_keras,
]
SAVED_MODELS = [
    models.strings_saved_model,
    models.examples_saved_model,
    models.mlp_export,
    models.signatures_saved_model,
    models.unsigned_saved_model,
    models.pinned_saved_model,
    models.tf1_saved_model,
]
KERAS_2 = [models.keras_2_h5, models.keras_2_ops_h5, models.keras_2_saved_model]


def strategy_of(replicas: int) -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])


def run(model: LoadedModel, strategy: Any, rows: Arrays) -> list[Arrays]:
    """What each replica gives for its share of the rows."""
    import tensorflow as tf

    count = strategy.num_replicas_in_sync
    shares = [
        {name: tf.constant(np.array_split(value, count)[index]) for name, value in rows.items()}
        for index in range(count)
    ]

    @tf.function(autograph=False)
    def step(shares: Any) -> Any:
        share = strategy.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )
        return strategy.experimental_local_results(strategy.run(model, args=(share,)))

    return [{name: value.numpy() for name, value in out.items()} for out in step(shares)]


def gathered(outputs: list[Arrays]) -> Arrays:
    return {
        name: np.concatenate([output[name] for output in outputs])
        if outputs[0][name].ndim
        else outputs[0][name]
        for name in outputs[0]
    }


def assert_equal(got: Arrays, wanted: Arrays) -> None:
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert got[name].shape == value.shape, name
        if value.dtype == object:
            assert got[name].tolist() == value.tolist(), name
        else:
            np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, logical_cpus: int) -> Callable[[Factory], Any]:
    """Makes each model once."""
    kept: dict[str, Any] = {}

    def make(factory: Factory) -> Any:
        if factory in KERAS_2:
            pytest.importorskip("tf_keras")
        if factory.__name__ not in kept:
            kept[factory.__name__] = factory(tmp_path_factory.mktemp(factory.__name__))
        return kept[factory.__name__]

    return make


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("factory", KERAS + SAVED_MODELS + KERAS_2)
def test_gives_what_the_bare_model_gives(
    made: Callable[[Factory], Any], factory: Factory, replicas: int
) -> None:
    spec, reference = made(factory)
    strategy = strategy_of(replicas)
    model = load_model(spec, strategy)
    rows = reference.rows(7)
    outputs = run(model, strategy, rows)
    assert [list(output) for output in outputs] == [
        [field.name for field in model.signature.outputs or ()]
    ] * replicas
    assert {field.name for field in model.signature.inputs} == set(rows)
    assert_equal(gathered(outputs), reference(rows))


@pytest.mark.parametrize("factory", KERAS + SAVED_MODELS + KERAS_2)
def test_each_replica_has_its_own_variables(
    made: Callable[[Factory], Any], factory: Factory
) -> None:
    """Changing those of replica 1 changes what replica 1 gives, and nothing else."""
    import tensorflow as tf

    spec, reference = made(factory)
    strategy = strategy_of(2)
    model = load_model(spec, strategy)
    rows = reference.rows(8)
    before = run(model, strategy, rows)
    assert len(model.replica_variables) == 2
    for index, variables in enumerate(model.replica_variables):
        assert all(variable.device.endswith(f"CPU:{index}") for variable in variables)
    for variable in model.replica_variables[1]:
        if variable.dtype.is_floating:
            variable.assign(tf.ones_like(variable) * 0.5)
    after = run(model, strategy, rows)
    assert_equal(after[0], before[0])
    assert any(not np.array_equal(after[1][name], before[1][name]) for name in before[1])


@pytest.mark.parametrize("factory", KERAS + SAVED_MODELS + KERAS_2)
def test_says_how_it_was_loaded(made: Callable[[Factory], Any], factory: Factory) -> None:
    spec, _ = made(factory)
    model = load_model(spec, strategy_of(2))
    assert model.mirrored == (factory is not models.tf1_saved_model)
    assert f"{model.bytes_per_device:,} bytes per device" in model.how
    assert ("one copy of the model on each device" in model.how) != model.mirrored
    assert model.bytes_per_device >= sum(
        np.prod(variable.shape) * variable.dtype.size for variable in model.replica_variables[0]
    )


def test_keras_2_is_left_to_keras_3_where_that_can(made: Callable[[Factory], Any]) -> None:
    for factory, library in ((models.keras_2_h5, "Keras 3"), (models.keras_2_ops_h5, "tf_keras")):
        assert load_model(made(factory)[0], strategy_of(1)).how.startswith(library)


def test_counts_the_variables_of_an_old_graph(made: Callable[[Factory], Any]) -> None:
    spec, _ = made(models.tf1_saved_model)
    model = load_model(spec, strategy_of(2))
    assert model.bytes_per_device == (6 + 2) * 4
    assert "TensorFlow 1" in model.how


def test_two_models_of_tensorflow_1_do_not_share_variables(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    strategy = strategy_of(2)
    spec, reference = models.tf1_saved_model(tmp_path)
    first = load_model(spec, strategy)
    second = load_model(models.tf1_saved_model(tmp_path / "again")[0], strategy)
    rows = reference.rows(4)
    for variables in second.replica_variables:
        for variable in variables:
            variable.assign(np.zeros(variable.shape))
    assert_equal(gathered(run(first, strategy, rows)), reference(rows))


def test_computation_saved_for_one_device_runs_on_each(made: Callable[[Factory], Any]) -> None:
    import tensorflow as tf

    spec, _ = made(models.pinned_saved_model)
    strategy = strategy_of(2)
    model = load_model(spec, strategy)
    assert "/device:CPU:0" in model.how

    @tf.function(autograph=False)
    def step(x: Any) -> Any:
        return strategy.experimental_local_results(strategy.run(model, args=({"x": x},)))

    graph = step.get_concrete_function(tf.TensorSpec([4, 3], tf.float32)).graph
    functions = graph.as_graph_def().library.function
    products = [node for function in functions for node in function.node_def if node.op == "MatMul"]
    assert products
    assert {node.device for node in products} == {""}


@pytest.mark.parametrize("factory", [models.mlp_keras, models.multi_keras, models.mlp_h5])
def test_name_is_no_matter(
    made: Callable[[Factory], Any], factory: Factory, tmp_path: Path
) -> None:
    spec, reference = made(factory)
    renamed = tmp_path / "model.bin"
    renamed.write_bytes(Path(spec.path).read_bytes())
    strategy = strategy_of(1)
    rows = reference.rows(3)
    outputs = run(load_model(ModelSpec(str(renamed)), strategy), strategy, rows)
    assert_equal(gathered(outputs), reference(rows))


def test_unpacked_archive(made: Callable[[Factory], Any], tmp_path: Path) -> None:
    import zipfile

    spec, reference = made(models.mlp_keras)
    zipfile.ZipFile(spec.path).extractall(tmp_path / "unpacked")
    strategy = strategy_of(2)
    rows = reference.rows(3)
    for precision, tolerance in ((None, 1e-6), ("mixed_bfloat16", 0.05)):
        model = load_model(ModelSpec(str(tmp_path / "unpacked")), strategy, precision=precision)
        outputs = gathered(run(model, strategy, rows))
        wanted = reference(rows)["scores"]
        np.testing.assert_allclose(outputs["scores"].astype(np.float32), wanted, atol=tolerance)


@pytest.mark.parametrize("factory", [models.mlp_keras, models.mlp_h5, models.mlp_weights])
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16", "float32"])
def test_precision(made: Callable[[Factory], Any], factory: Factory, precision: str) -> None:
    import keras

    spec, reference = made(factory)
    strategy = strategy_of(2)
    model = load_model(spec, strategy, precision=precision)
    rows = reference.rows(6)
    outputs = gathered(run(model, strategy, rows))
    computed_in = precision.removeprefix("mixed_")
    assert [field.dtype for field in model.signature.outputs or ()] == [computed_in]
    assert [field.dtype for field in model.signature.inputs] == ["float32"]
    # The variables stay in float32, as the policies have it.
    assert {variable.dtype.name for variable in model.replica_variables[0]} == {"float32"}
    tolerance = 1e-5 if precision == "float32" else 0.05
    np.testing.assert_allclose(
        outputs["scores"].astype(np.float32), reference(rows)["scores"], atol=tolerance
    )
    assert keras.config.dtype_policy().name == "float32"


def test_precision_of_keras_2(made: Callable[[Factory], Any]) -> None:
    spec, reference = made(models.keras_2_ops_h5)
    strategy = strategy_of(1)
    model = load_model(spec, strategy, precision="mixed_bfloat16")
    assert "tf_keras" in model.how
    rows = reference.rows(4)
    outputs = gathered(run(model, strategy, rows))
    assert outputs["y"].dtype.name == "bfloat16"
    np.testing.assert_allclose(outputs["y"].astype(np.float32), reference(rows)["y"], atol=0.1)


def test_builder_with_a_whole_model_file(made: Callable[[Factory], Any]) -> None:
    strategy = strategy_of(2)
    for factory in (models.mlp_h5, models.mlp_keras):
        spec, reference = made(factory)
        model = load_model(ModelSpec(spec.path, builder=models.build_mlp), strategy)
        rows = reference.rows(4)
        assert_equal(gathered(run(model, strategy, rows)), reference(rows))


def test_names_of_a_builders_model_do_not_count_up(tmp_path: Path) -> None:
    import keras

    def build() -> Any:
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])

    build().save_weights(tmp_path / "two.weights.h5")
    spec = ModelSpec(str(tmp_path / "two.weights.h5"), builder=build)
    first, second = (load_model(spec, strategy_of(1)).signature for _ in range(2))
    assert first == second
    assert [field.name for field in first.inputs] == ["input_layer"]


def test_trusted_code_runs(tmp_path: Path) -> None:
    import keras

    x = keras.Input((2,), name="x")
    model = keras.Model(x, keras.layers.Lambda(lambda value: value * 3.0, name="y")(x))
    model.save(tmp_path / "code.keras")
    strategy = strategy_of(2)
    loaded = load_model(ModelSpec(str(tmp_path / "code.keras"), trust=True), strategy)
    rows = {"x": np.ones((4, 2), np.float32)}
    assert_equal(gathered(run(loaded, strategy, rows)), {"y": np.full((4, 2), 3.0, np.float32)})
