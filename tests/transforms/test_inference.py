"""Every kind of element through the public transform, against the bare model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.display import DisplayData
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from tests import models
from transforms import Batching, MirroredInference, ModelSpec
from transforms.block import Block
from transforms.engine.registry import PREDICTORS
from transforms.inference import PredictBlocks
from transforms.inference_dofn import MirroredInferenceDoFn
from transforms.inference_setup import InferenceSetup

pytestmark = pytest.mark.usefixtures("logical_cpus")

ROWS = 37
DEVICES = [tuple(f"CPU:{index}" for index in range(count)) for count in (1, 2, 3)]

_collected: dict[str, list[Any]] = {}
_collected_lock = threading.Lock()


def _collect(value: Any, name: str) -> None:
    with _collected_lock:
        _collected[name].append(value)


def run(
    elements: list[Any], transform: beam.PTransform, *arguments: str
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The predictions and the failures that a pipeline gives."""
    _collected.update(predictions=[], failures=[])
    options = PipelineOptions(["--runner=FnApiRunner", *arguments])
    with beam.Pipeline(options=options) as pipeline:
        result = pipeline | beam.Create(elements, reshuffle=False) | transform
        result.predictions | "P" >> beam.Map(_collect, "predictions")
        result.failures | "F" >> beam.Map(_collect, "failures")
    return _collected["predictions"], _collected["failures"]


def table_of(columns: dict[str, np.ndarray]) -> pa.RecordBatch:
    """Columns as a batch with a row number; rows of arrays as flat lists."""
    arrays = {"id": pa.array(np.arange(len(next(iter(columns.values())))))}
    for name, values in columns.items():
        arrays[name] = pa.array(
            [value.reshape(-1) for value in values] if values.ndim > 1 else values
        )
    return pa.RecordBatch.from_pydict(arrays)


def check(name: str, actual: Any, expected: np.ndarray) -> None:
    if expected.dtype == object:
        assert list(actual) == expected.tolist(), name
    else:
        np.testing.assert_allclose(
            np.array(list(actual)).reshape(expected.shape), expected, rtol=1e-4, atol=1e-5
        )


FACTORIES: list[Callable[[Path], tuple[ModelSpec, models.Reference]]] = [
    models.mlp_keras,
    models.mlp_h5,
    models.mlp_weights,
    models.multi_keras,
    models.listed_keras,
    models.strings_saved_model,
    models.examples_saved_model,
]


@pytest.fixture(scope="module", params=FACTORIES, ids=lambda factory: factory.__name__)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, logical_cpus: int
) -> tuple[ModelSpec, models.Reference]:
    return request.param(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory, logical_cpus: int) -> Any:
    return models.mlp_keras(tmp_path_factory.mktemp("mlp"))


@pytest.mark.parametrize("devices", DEVICES, ids=len)
@pytest.mark.parametrize("kind", ["batch", "table", "dict", "row"])
def test_every_model_and_element_kind(
    model: tuple[ModelSpec, models.Reference], kind: str, devices: tuple[str, ...]
) -> None:
    spec, reference = model
    rows = reference.rows(ROWS)
    expected = reference(rows)
    transform = MirroredInference(spec, devices=devices, batching=Batching(rows=16))
    batch = table_of(rows)
    if kind in ("batch", "table"):
        cuts = [(0, 20), (20, 0), (20, 1), (21, 16)]
        elements: list[Any] = [batch.slice(*cut) for cut in cuts]
        if kind == "table":
            elements = [pa.Table.from_batches([element]) for element in elements]
        predictions, failures = run(elements, transform)
        assert [element.num_rows for element in predictions] == [20, 0, 1, 16]
        assert len({element.schema for element in predictions}) == 1
        assert isinstance(predictions[0], type(elements[0]))
        scored = pa.concat_tables(
            [
                element if kind == "table" else pa.Table.from_batches([element])
                for element in predictions
            ]
        )
        assert scored.column_names == ["id", *expected]
        assert scored["id"].to_pylist() == list(range(ROWS))
        for name, values in expected.items():
            check(name, scored[name].to_pylist(), values)
    elif kind == "dict":
        elements = [
            {"id": row} | {name: values[row] for name, values in rows.items()}
            for row in range(ROWS)
        ]
        predictions, failures = run(elements, transform)
        predictions = sorted(predictions, key=lambda prediction: prediction["id"])
        assert [prediction["id"] for prediction in predictions] == list(range(ROWS))
        for name, values in expected.items():
            check(name, [prediction[name] for prediction in predictions], values)
    else:
        values = list(next(iter(rows.values())))
        if len(rows) > 1:
            with pytest.raises(Exception, match="expected a dict with a value for each input"):
                run(values, transform)
            return
        predictions, failures = run(values, transform)
        for name, values in expected.items():
            check(name, [prediction[name] for prediction in predictions], values)
        assert set(predictions[0]) == set(expected)
    assert not failures


def test_sequences_of_different_length(tmp_path: Path) -> None:
    spec, _ = models.sequence_keras(tmp_path)
    bare = tf.keras.models.load_model(spec.path)
    rng = np.random.default_rng(1)
    rows = [rng.normal(size=(length, 2)).astype(np.float32) for length in (3, 7, 3, 1, 7, 2)]
    expected = [bare(row[None], training=False).numpy()[0] for row in rows]
    transform = MirroredInference(spec, devices=("CPU:0", "CPU:1"))
    batch = pa.RecordBatch.from_pydict({"sequence": pa.array([row.tolist() for row in rows])})
    (scored,), failures = run([batch], transform)
    assert not failures
    np.testing.assert_allclose(scored["last"].to_pylist(), expected, rtol=1e-4, atol=1e-5)
    predictions, _ = run([{"n": n, "sequence": row} for n, row in enumerate(rows)], transform)
    for prediction in predictions:
        np.testing.assert_allclose(
            prediction["last"], expected[prediction["n"]], rtol=1e-4, atol=1e-5
        )


def test_bad_rows_of_a_batch_fail_alone(mlp: Any) -> None:
    spec, reference = mlp
    features = reference.rows(10)["features"]
    lists = features.tolist()
    lists[2], lists[7] = None, [1.0]
    batch = pa.RecordBatch.from_pydict({"id": list(range(10)), "features": lists})
    (scored,), failures = run([batch], MirroredInference(spec, devices=("CPU:0", "CPU:1")))
    good = [row for row in range(10) if row not in (2, 7)]
    assert scored["id"].to_pylist() == good
    check("scores", scored["scores"].to_pylist(), reference({"features": features[good]})["scores"])
    assert [(failure["row"], failure["stage"]) for failure in failures] == [
        (2, "convert"),
        (7, "convert"),
    ]
    assert failures[1]["data"] == {"id": 7, "features": [1.0]}
    assert set(failures[0]) == {"source", "row", "stage", "error", "message", "data"}


def test_bad_dict_rows_fail_alone(mlp: Any) -> None:
    spec, reference = mlp
    features = reference.rows(6)["features"]
    rows: list[Any] = [{"id": n, "features": row} for n, row in enumerate(features)]
    rows[3] = {"id": 3}
    rows[5]["features"] = features[5][:2]
    predictions, failures = run(rows, MirroredInference(spec, devices=("CPU:0",)))
    assert sorted(prediction["id"] for prediction in predictions) == [0, 1, 2, 4]
    assert sorted(failure["data"]["id"] for failure in failures) == [3, 5]


def test_a_row_that_the_model_cannot_take_fails_alone(tmp_path: Path) -> None:
    class Square(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.control_dependencies([tf.debugging.assert_non_negative(x)]):
                return {"root": tf.sqrt(x)}

    module = Square()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    x = np.array([4.0, -1.0, 9.0, 16.0, -2.0], np.float32)
    batch = pa.RecordBatch.from_pydict({"_source": ["f"] * 5, "_row": range(100, 105), "x": x})
    transform = MirroredInference(str(tmp_path / "m"), devices=("CPU:0", "CPU:1"), keep="all")
    (scored,), failures = run([batch], transform)
    assert scored["root"].to_pylist() == [2.0, 3.0, 4.0]
    assert [(f["source"], f["row"], f["stage"]) for f in failures] == [
        ("f", 101, "infer"),
        ("f", 104, "infer"),
    ]
    assert failures[0]["data"] == {"x": -1.0}


@pytest.mark.parametrize(
    ("keep", "columns"),
    [
        (None, ["id", "scores"]),
        ("none", ["scores"]),
        ("all", ["id", "features", "scores"]),
        (["features"], ["features", "scores"]),
        ("id", ["id", "scores"]),
    ],
)
def test_keep(mlp: Any, keep: Any, columns: list[str]) -> None:
    spec, reference = mlp
    rows = reference.rows(3)
    transform = MirroredInference(spec, keep=keep)
    (scored,), _ = run([table_of(rows)], transform)
    assert scored.schema.names == columns
    predictions, _ = run([{"id": 1, "features": rows["features"][0]}], transform)
    assert list(predictions[0]) == columns


def test_a_table_whose_columns_do_not_fit_one_array_keeps_its_rows(mlp: Any) -> None:
    spec, reference = mlp
    rows = reference.rows(6)
    table = pa.Table.from_batches([table_of(rows)])
    features = table["features"].to_pylist()
    features[4] = None
    table = table.set_column(1, "features", pa.array(features, table.schema.field(1).type))
    # Lists of nulls take no memory, and two of these chunks are more than one array can hold.
    offsets = pa.array([0, 0, 0, 2**31 - 8], pa.int32())
    long = pa.ListArray.from_arrays(offsets, pa.nulls(2**31 - 8))
    table = table.append_column("long", pa.chunked_array([long, long]))
    do_fn = MirroredInferenceDoFn(InferenceSetup.checked(spec, devices=("CPU:0",)))
    do_fn.setup()
    do_fn.start_bundle()
    outputs = [*do_fn.process([(table, 0)], window=None, timestamp=0), *do_fn.finish_bundle()]
    do_fn.teardown()
    scored, failure = outputs[0].value, outputs[1].value.value
    assert scored["id"].to_pylist() == [0, 1, 2, 3, 5]
    assert scored["long"].num_chunks == 2
    check("scores", scored["scores"].to_pylist(), reference(rows)["scores"][[0, 1, 2, 3, 5]])
    assert (failure["row"], failure["error"]) == (4, "NullValueError")


def test_an_output_named_like_a_column_gets_a_suffix(mlp: Any) -> None:
    spec, reference = mlp
    batch = table_of(reference.rows(3)).append_column("scores", pa.array([1, 2, 3]))
    (scored,), _ = run([batch], MirroredInference(spec))
    assert scored.schema.names == ["id", "scores", "scores_predicted"]


def test_preprocessing_of_columns(mlp: Any) -> None:
    spec, reference = mlp
    rng = np.random.default_rng(3)
    low = rng.integers(0, 255, (9, 4)).astype(np.uint8)
    high = rng.normal(size=(9, 4)).astype(np.float32)

    def join(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.cast(low, tf.float32) / 255.0, high], axis=1)

    expected = reference({"features": np.concatenate([low / np.float32(255), high], axis=1)})
    batch = table_of({"low": low, "high": high})
    input_spec = {"low": tf.TensorSpec([4], tf.uint8), "high": tf.TensorSpec([4], tf.float32)}
    for spec_given in (None, input_spec):
        transform = MirroredInference(
            spec, preprocess=join, input_spec=spec_given, devices=("CPU:0", "CPU:1")
        )
        (scored,), failures = run([batch], transform)
        assert not failures
        assert scored.schema.names == ["id", "scores"]
        check("scores", scored["scores"].to_pylist(), expected["scores"])


def test_bytes_widen_on_the_device(mlp: Any) -> None:
    spec, reference = mlp
    features = np.random.default_rng(5).integers(0, 255, (6, 8)).astype(np.uint8)
    batch = table_of({"features": features})
    (scored,), _ = run([batch], MirroredInference(spec, devices=("CPU:0", "CPU:1")))
    check(
        "scores",
        scored["scores"].to_pylist(),
        reference({"features": features.astype(np.float32)})["scores"],
    )


# Life cycle.


def test_one_load_for_many_threads_and_stages(mlp: Any) -> None:
    spec, reference = mlp
    rows = reference.rows(40)
    before = PREDICTORS.loads
    transform = MirroredInference(spec, devices=("CPU:2", "CPU:3"), batching=Batching(rows=6))
    _collected.update(predictions=[])
    options = PipelineOptions(
        [
            "--runner=FnApiRunner",
            "--direct_num_workers=4",
            "--direct_running_mode=multi_threading",
        ]
    )
    with beam.Pipeline(options=options) as pipeline:
        elements = (
            pipeline
            | beam.Create([{"id": n, "features": row} for n, row in enumerate(rows["features"])])
            | beam.Reshuffle()
        )
        for stage in range(2):
            result = elements | f"Stage {stage}" >> transform
            _ = result.predictions | f"Collect {stage}" >> beam.Map(_collect, "predictions")
    assert PREDICTORS.loads == before + 1
    expected = reference(rows)["scores"]
    assert sorted(value["id"] for value in _collected["predictions"]) == sorted([*range(40)] * 2)
    for value in _collected["predictions"]:
        np.testing.assert_allclose(value["scores"], expected[value["id"]], rtol=1e-4, atol=1e-5)


def test_two_models_in_one_stage(mlp: Any, tmp_path: Path) -> None:
    spec, reference = mlp
    other, _ = models.mlp_keras(tmp_path)
    bare = tf.keras.models.load_model(other.path)
    rows = reference.rows(20)
    _collected.update(predictions=[])
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        first = (
            pipeline | beam.Create([table_of(rows)]) | "A" >> MirroredInference(spec, keep="all")
        )
        second = first.predictions | "B" >> MirroredInference(
            other, input_map={"features": "features"}, keep="all"
        )
        _ = second.predictions | beam.Map(_collect, "predictions")
    (scored,) = _collected["predictions"]
    check("scores", scored["scores"].to_pylist(), reference(rows)["scores"])
    check(
        "scores",
        scored["scores_predicted"].to_pylist(),
        bare(rows["features"], training=False).numpy(),
    )


@pytest.fixture
def dofn(mlp: Any) -> Iterator[MirroredInferenceDoFn]:
    do_fn = MirroredInferenceDoFn(InferenceSetup.checked(mlp[0], devices=("CPU:0",)))
    yield do_fn
    do_fn.teardown()


def test_setup_again_after_teardown_loads_nothing(dofn: MirroredInferenceDoFn) -> None:
    dofn.setup()
    before = PREDICTORS.loads
    dofn.teardown()
    dofn.teardown()
    dofn.setup()
    assert PREDICTORS.loads == before


def test_setup_fails_cleanly_and_then_works(mlp: Any) -> None:
    broken = MirroredInferenceDoFn(InferenceSetup.checked(mlp[0], devices=("GPU:7",)))
    with pytest.raises(ValueError, match=r"expected devices among CPU:0.*Received: GPU:7"):
        broken.setup()
    broken.teardown()
    good = MirroredInferenceDoFn(InferenceSetup.checked(mlp[0], devices=("CPU:0",)))
    good.setup()
    good.teardown()


def test_the_dofn_in_a_pipeline_of_ones_own(mlp: Any) -> None:
    spec, reference = mlp
    rows = reference.rows(50)["features"]
    _collected.update(predictions=[])
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | beam.Create(list(rows))
            | beam.BatchElements(min_batch_size=8, max_batch_size=8)
            | beam.ParDo(MirroredInferenceDoFn(spec, devices=("CPU:0", "CPU:1")))
            | beam.Map(_collect, "predictions")
        )
    scores = np.array([value["scores"] for value in _collected["predictions"]])
    expected = reference({"features": rows})["scores"]
    np.testing.assert_allclose(
        np.sort(scores, axis=0), np.sort(expected, axis=0), rtol=1e-4, atol=1e-5
    )


def test_an_empty_group_gives_nothing(dofn: MirroredInferenceDoFn) -> None:
    dofn.setup()
    dofn.start_bundle()
    assert not list(dofn.process([], None, None))
    assert not list(dofn.finish_bundle())


# Windows and timestamps.


def test_timestamps_and_windows_are_kept(mlp: Any) -> None:
    spec, reference = mlp
    rows = reference.rows(30)["features"]
    _collected.update(predictions=[], failures=[])

    class Look(beam.DoFn):
        def process(
            self,
            element: dict[str, Any],
            timestamp: Any = beam.DoFn.TimestampParam,
            window: Any = beam.DoFn.WindowParam,
        ) -> None:
            key = "predictions" if "scores" in element else "failures"
            row = element["id"] if "id" in element else element["data"]["id"]
            _collect((row, float(timestamp), float(window.start)), key)

    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        elements = (
            pipeline
            | beam.Create(list(range(30)))
            | beam.Map(
                lambda n: TimestampedValue(
                    {"id": n, "features": rows[n] if n != 8 else rows[n][:3]}, n
                )
            )
            | beam.WindowInto(FixedWindows(10))
        )
        result = elements | MirroredInference(spec, batching=Batching(rows=4))
        _ = result.predictions | "P" >> beam.ParDo(Look())
        _ = result.failures | "F" >> beam.ParDo(Look())
    assert sorted(_collected["predictions"]) == [(n, n, n // 10 * 10) for n in range(30) if n != 8]
    assert _collected["failures"] == [(8, 8.0, 0.0)]


# Blocks.


def test_blocks_keep_their_order_failures_and_counts(mlp: Any) -> None:
    spec, reference = mlp
    rows = reference.rows(25)
    lists = rows["features"].tolist()
    lists[11] = None
    batch = pa.RecordBatch.from_pydict(
        {
            "_source": ["file"] * 25,
            "_row": list(range(25)),
            "label": list(range(25)),
            "features": pa.array(lists),
        }
    )
    blocks = [
        Block(batch.slice(0, 10), split="s"),
        Block(batch.slice(10, 15), split="s"),
        Block(batch.slice(0, 0), split="s", rows_in_split=25),
    ]
    _collected.update(predictions=[])
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        scored = pipeline | beam.Create(blocks, reshuffle=False) | PredictBlocks(spec)
        _ = scored | beam.Map(_collect, "predictions")
    scored_blocks = _collected["predictions"]
    assert [block.batch.num_rows for block in scored_blocks] == [10, 14, 0]
    assert [block.rows_in_split for block in scored_blocks] == [None, None, 25]
    assert scored_blocks[2].run_info["rows"] >= 24
    assert scored_blocks[0].batch.schema.names == ["label", "scores", "_source", "_row"]
    (failure,) = scored_blocks[1].failures
    assert (failure.source, failure.row, failure.stage) == ("file", 11, "convert")
    assert failure.data == {"label": 11, "features": None}


# What is refused at construction.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "expected precision among float32"),
        ({"devices": ()}, "expected devices='all' or device names"),
        ({"logical_devices": 0}, "expected logical_devices of 1 or more"),
        ({"input_map": {"x": "features"}}, "expected input_map for the model's inputs features"),
        ({"input_spec": {"x": tf.TensorSpec([8])}}, "expected input_spec for the columns features"),
        ({"input_spec": {"features": 3}}, "as a tf.TensorSpec without the row dimension"),
        (
            {"input_spec": {"features": tf.TensorSpec([8], tf.string)}},
            "expected column 'features' as float32.* Received: string",
        ),
        ({"batching": 32}, "expected batching as a Batching. Received: 32"),
        ({"preprocess": 3}, "expected preprocess as a function of columns"),
        ({"preprocess": lambda *a: a}, "expected preprocess with parameters that are column names"),
        (
            {"preprocess": lambda x: x, "input_map": {"features": "x"}},
            "expected preprocess or input_map. Received: both",
        ),
    ],
)
def test_refused_at_construction(mlp: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MirroredInference(mlp[0], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, r"expected rows='auto' or a number of rows above 0\. Received: 0"),
        ({"rows": "many"}, "Received: 'many'"),
        ({"in_flight": 0}, "expected in_flight of 1 or more"),
        ({"max_wait_seconds": -1}, "expected max_wait_seconds of 0 or more"),
    ],
    ids=str,
)
def test_batching_that_makes_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batching(**options)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.keras"):
        MirroredInference(str(tmp_path / "nothing.keras"))


def test_input_under_way_is_bounded(mlp: Any) -> None:
    spec, reference = mlp
    rows = reference.rows(400)
    batch = table_of(rows)
    batching = Batching(rows=16, in_flight=100, max_host_bytes=2048)
    elements = [batch.slice(start, 20) for start in range(0, 400, 20)]
    predictions, failures = run(elements, MirroredInference(spec, batching=batching))
    assert not failures
    scores = [row for element in predictions for row in element["scores"].to_pylist()]
    check("scores", scores, reference(rows)["scores"])


def test_one_long_text_does_not_pad_the_others(tmp_path: Path) -> None:
    class Letters(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def serve(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
            padded = tf.strings.bytes_split(text).to_tensor()
            letters = tf.reduce_sum(tf.cast(padded != "", tf.int32), axis=1)
            return {"letters": letters, "width": tf.repeat(tf.shape(padded)[1], tf.shape(text)[0])}

    module = Letters()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    lengths = [5, 20_000, 3, 1000, 1500, 0, 25_000, 8]
    batch = pa.RecordBatch.from_pydict({"text": ["x" * length for length in lengths]})
    (scored,), failures = run([batch], MirroredInference(str(tmp_path / "m"), devices=("CPU:0",)))
    assert not failures
    assert scored["letters"].to_pylist() == lengths
    widths = scored["width"].to_pylist()
    assert [width for width, length in zip(widths, lengths, strict=True) if length <= 1000] == (
        [1000] * 5
    )
    assert widths[4] == 1500
    assert widths[1] == widths[6] == 25_000


def test_a_group_of_bad_rows_only_fails_its_rows(mlp: Any) -> None:
    spec, reference = mlp
    good = {"id": 1, "features": reference.rows(1)["features"][0]}
    bad = {"id": 0, "features": None}
    predictions, failures = run([bad, good], MirroredInference(spec, batching=Batching(rows=1)))
    assert [prediction["id"] for prediction in predictions] == [1]
    assert [(failure["row"], failure["data"]["id"]) for failure in failures] == [(0, 0)]


def test_keeping_what_a_row_lacks(mlp: Any) -> None:
    spec, reference = mlp
    first, second = reference.rows(2)["features"]
    rows = [{"id": 7, "features": first}, {"features": second}]
    predictions, failures = run(rows, MirroredInference(spec, keep=["id"]))
    assert not failures
    assert [prediction["id"] for prediction in predictions] == [7, None]
    with pytest.raises(Exception, match="expected the columns to keep among"):
        run(rows, MirroredInference(spec, keep=["identity"]))


def test_bfloat16_leaves_as_float32(tmp_path: Path) -> None:
    class Narrow(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.cast(x, tf.bfloat16)}

    module = Narrow()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    row = np.array([1.5, -2.0], np.float32)
    (prediction,), _ = run([row], MirroredInference(str(tmp_path / "m")))
    assert prediction["y"].dtype == np.float32
    np.testing.assert_array_equal(prediction["y"], row)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda x: {"y": tf.complex(x, x)}, "output 'y' as booleans, numbers or strings. Received"),
        (lambda x: {}, "expected a model with outputs"),
    ],
    ids=["complex", "none"],
)
def test_outputs_that_no_column_holds_are_refused_at_once(
    tmp_path: Path, outputs: Callable[[tf.Tensor], dict[str, tf.Tensor]], message: str
) -> None:
    class Odd(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return outputs(x)

    module = Odd()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    with pytest.raises(ValueError, match=message):
        MirroredInference(str(tmp_path / "m"))


def test_monitoring_shows_model_and_devices(mlp: Any) -> None:
    transform = MirroredInference(mlp[0], devices=("CPU:0", "CPU:1"), batching=Batching(rows=16))
    shown = {item.key: item.value for item in DisplayData.create_from(transform).items}
    assert shown == {"model": mlp[0].path, "devices": "CPU:0, CPU:1", "rows": 16}
