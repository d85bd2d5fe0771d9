"""Every sink against readers that are not ours, value by value."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from pipelines.sinks import SINK_NAMES, sink_class
from pipelines.sinks.base import SinkError, arranged, arranged_schema
from pipelines.sinks.jsonl import slices
from pipelines.sinks.parquet import ROW_GROUP_ROWS

ROWS = 700


def tensors(values: np.ndarray) -> pa.Array:
    """Values `[rows, …]` as nested lists of fixed size."""
    array = pa.array(values.reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def scored_batch(rows: int = ROWS, first: int = 0) -> pa.RecordBatch:
    """A batch as it comes to a sink: kept columns, outputs, provenance."""
    numbers = np.arange(first, first + rows)
    rng = np.random.default_rng(first)
    words = pa.array(
        [None if n % 7 == 3 else f'w "{n}",\n\té{n % 5}' for n in numbers.tolist()], pa.string())
    return pa.record_batch({
        "id": numbers,
        "word": words,
        "blob": pa.array([bytes([n % 256, 0, 255]) for n in numbers.tolist()], pa.binary()),
        "label": pa.array([f"c{n % 3}" for n in numbers.tolist()]).dictionary_encode(),
        "bag": pa.array([list(range(n % 4)) for n in numbers.tolist()], pa.list_(pa.int64())),
        "pixels": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.uint8(), [2, 3]),
            pa.FixedSizeListArray.from_arrays(
                pa.array(rng.integers(0, 256, rows * 6, np.uint8)), 6)),
        "score": rng.normal(size=rows).astype(np.float32),
        "probabilities": tensors(rng.random((rows, 4), np.float32)),
        "boxes": tensors(rng.random((rows, 2, 2), np.float32)),
        "_source": pa.array(["/in/a.parquet"] * rows),
        "_row": numbers,
    })


def write(name: str, path: Path, batches: Sequence[pa.RecordBatch]) -> Path:
    sink = sink_class(name)()
    sink = pickle.loads(pickle.dumps(sink))
    sink.check_schema(batches[0].schema)
    with path.open("wb") as stream:
        writer = sink.open(stream, batches[0].schema)
        for batch in batches:
            writer.write(batch)
        writer.finish()
    assert sink.count_rows(str(path)) == sum(batch.num_rows for batch in batches)
    return path


def rows_of(batches: Sequence[pa.RecordBatch]) -> list[dict[str, Any]]:
    rows = []
    for batch in batches:
        plain = batch.set_column(
            batch.schema.get_field_index("pixels"), "pixels", batch.column("pixels").storage)
        rows += plain.to_pylist()
    return rows


EMPTY = scored_batch().slice(0, 0)


@pytest.fixture
def batches() -> list[pa.RecordBatch]:
    whole = scored_batch()
    return [whole.slice(0, 300), whole.slice(300, 1), whole.slice(301, 0), whole.slice(301)]


@pytest.mark.parametrize("name", SINK_NAMES)
def test_parts_without_rows_are_valid(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / "part", [EMPTY])
    if name == "parquet":
        assert pq.read_table(path).schema.names == EMPTY.schema.names
    if name == "csv":
        assert path.read_text().count("\n") == 1
    if name in ("jsonl", "tfrecord"):
        assert path.read_bytes() == b""


def test_parquet_reads_back(batches: list[pa.RecordBatch], tmp_path: Path) -> None:
    table = pq.read_table(write("parquet", tmp_path / "part", batches))
    assert table.to_pylist() == rows_of(batches)
    assert table.schema.names[-2:] == ["_source", "_row"]
    assert table.schema.field("label").type == pa.string()
    assert not any(isinstance(field.type, pa.BaseExtensionType) for field in table.schema)


def test_parquet_keeps_fixed_sizes_only_where_no_null_can_break_reading(tmp_path: Path) -> None:
    kind = pa.list_(pa.float32(), 2)
    schema = pa.schema([pa.field("maybe", kind), pa.field("never", kind, nullable=False)])
    columns = [pa.array([[1, 2], None], kind), pa.array([[3, 4], [5, 6]], kind)]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    table = pq.read_table(write("parquet", tmp_path / "part", [batch]))
    assert table.to_pylist() == batch.to_pylist()
    assert pa.types.is_list(table.schema.field("maybe").type)
    assert pa.types.is_fixed_size_list(table.schema.field("never").type)


def test_parquet_reads_back_nulls_at_every_depth(tmp_path: Path) -> None:
    pair = pa.list_(pa.int8(), 2)
    batch = pa.record_batch({
        "deep": pa.array([[[1, 2], None], None, []], pa.list_(pair)),
        "struct": pa.array([{"a": [1, 2]}, {"a": None}, None], pa.struct([("a", pair)])),
        "empty": pa.array([[], [], None], pa.list_(pa.int8(), 0)),
        "map": pa.array([[("a", [1, 2])], None, []], pa.map_(pa.string(), pair)),
        "null": pa.nulls(3),
        "time": pa.array([1, None, 3], pa.timestamp("ns", "UTC")),
        "half": pa.array([1, None, 3], pa.float16()),
    })
    table = pq.read_table(write("parquet", tmp_path / "part", [batch]))
    assert table.to_pylist() == batch.to_pylist()


def test_parquet_row_groups_are_bounded_and_full(tmp_path: Path) -> None:
    rows = ROW_GROUP_ROWS // 4
    piece = pa.record_batch(
        {
            "group": pa.array(np.arange(rows) % 7),
            "x": pa.array(np.zeros(rows)),
            "id": pa.array(np.arange(rows)),
            "_row": pa.array(np.arange(rows)),
        }
    )
    metadata = pq.read_metadata(write("parquet", tmp_path / "part", [piece] * 9))
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [4 * rows, 4 * rows, rows]
    assert groups[0].column(0).compression == "ZSTD"
    assert groups[0].column(0).has_dictionary_page
    assert not any(groups[0].column(index).has_dictionary_page for index in (1, 2, 3))
    assert "DELTA_BINARY_PACKED" in groups[0].column(3).encodings


def test_jsonl_reads_back(batches: list[pa.RecordBatch], tmp_path: Path) -> None:
    path = write("jsonl", tmp_path / "part", batches)
    read = [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
    expected = rows_of(batches)
    assert [list(row) for row in read] == [list(row) for row in expected]
    for row, original in zip(read, expected, strict=True):
        original["blob"] = row["blob"] if "b64" in row["blob"] else original["blob"]
        for column in ("score", "probabilities", "boxes"):
            value = np.array(row[column], np.float32)
            assert np.array_equal(value, np.array(original[column], np.float32))
            row[column] = original[column]
        assert row == original


def test_jsonl_is_read_by_arrow_with_the_columns_types(tmp_path: Path) -> None:
    batch = pa.record_batch({"x": [1.0, math.nan, math.inf], "n": [[1.0], [], [2.0, 3.5]]})
    table = pyarrow.json.read_json(write("jsonl", tmp_path / "part", [batch]))
    assert table.to_pylist() == [
        {"x": 1.0, "n": [1.0]}, {"x": None, "n": []}, {"x": None, "n": [2.0, 3.5]}]
    assert table.schema.types == [pa.float64(), pa.list_(pa.float64())]


def test_jsonl_cuts_large_batches_into_pieces(tmp_path: Path) -> None:
    numbers = np.arange(3 * 10**6)
    batch = pa.record_batch({"n": pa.FixedSizeListArray.from_arrays(pa.array(numbers), 1000)})
    pieces = list(slices(batch, 16 * 2**20))
    assert len(pieces) > 1
    assert max(piece.nbytes for piece in pieces) <= 16 * 2**20
    path = write("jsonl", tmp_path / "part", [batch])
    with path.open() as lines:
        read = [json.loads(line)["n"] for line in lines]
    assert np.array_equal(np.array(read).reshape(-1), numbers)


def test_a_row_above_the_limit_is_a_piece_of_its_own() -> None:
    batch = pa.record_batch({"s": ["x" * 100, "y" * 100]})
    assert [piece.num_rows for piece in slices(batch, 10)] == [1, 1]
    assert list(slices(batch.slice(0, 0), 10)) == []


def test_csv_reads_back_with_the_standard_library(
    batches: list[pa.RecordBatch], tmp_path: Path
) -> None:
    path = write("csv", tmp_path / "part", batches)
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    expected = rows_of(batches)
    assert list(read[0]) == list(expected[0])
    for row, original in zip(read, expected, strict=True):
        assert row["word"] == (original["word"] or "")
        assert (row["label"], row["_source"]) == (original["label"], original["_source"])
        assert (int(row["id"]), int(row["_row"])) == (original["id"], original["_row"])
        assert np.float32(row["score"]) == np.float32(original["score"])
        assert json.loads(row["blob"])["b64"]
        assert json.loads(row["bag"]) == original["bag"]
        assert json.loads(row["pixels"]) == original["pixels"]
        for column in ("probabilities", "boxes"):
            value = np.array(json.loads(row[column]), np.float32)
            assert np.array_equal(value, np.array(original[column], np.float32))


def test_csv_tells_null_from_empty_and_is_read_by_arrow(tmp_path: Path) -> None:
    batch = pa.record_batch({
        "s": ["", None, "a,b\n"],
        "x": [math.inf, -0.5, None],
        "l": pa.array([[], None, [1]], pa.list_(pa.int8())),
        "t": pa.array([0, None, 1], pa.timestamp("s")),
        "b": [True, None, False],
        "d": pa.array([5, None, 6], pa.duration("s")),
        "h": pa.array([0.5, None, 1.5], pa.float16()),
    })
    path = write("csv", tmp_path / "part", [batch])
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            strings_can_be_null=True, quoted_strings_can_be_null=False))
    assert table["s"].to_pylist() == ["", None, "a,b\n"]
    assert table["x"].to_pylist() == [math.inf, -0.5, None]
    assert table["l"].to_pylist() == ["[]", None, "[1]"]
    assert table["t"].to_pylist() == [
        datetime.datetime(1970, 1, 1), None, datetime.datetime(1970, 1, 1, 0, 0, 1)]
    assert table["b"].to_pylist() == [True, None, False]
    assert table["d"].to_pylist() == [5, None, 6]
    assert table["h"].to_pylist() == [0.5, None, 1.5]


@pytest.mark.usefixtures("logical_cpus")
def test_tfrecord_reads_back_with_tf_data(
    batches: list[pa.RecordBatch], tmp_path: Path
) -> None:
    import tensorflow as tf

    path = write("tfrecord", tmp_path / "part", batches)
    features = {
        "id": tf.io.FixedLenFeature([], tf.int64),
        "word": tf.io.VarLenFeature(tf.string),
        "blob": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.string),
        "bag": tf.io.RaggedFeature(tf.int64),
        "pixels": tf.io.FixedLenFeature([6], tf.int64),
        "score": tf.io.FixedLenFeature([], tf.float32),
        "probabilities": tf.io.FixedLenFeature([4], tf.float32),
        "boxes": tf.io.FixedLenFeature([2, 2], tf.float32),
        "_source": tf.io.FixedLenFeature([], tf.string),
        "_row": tf.io.FixedLenFeature([], tf.int64),
    }
    dataset = tf.data.TFRecordDataset(str(path)).batch(ROWS)
    (parsed,) = [tf.io.parse_example(records, features) for records in dataset]
    expected = rows_of(batches)
    assert len(expected) == ROWS
    words = tf.sparse.to_dense(parsed.pop("word")).numpy()[:, 0].tolist()
    assert words == [(row["word"] or "").encode() for row in expected]
    for column, values in parsed.items():
        original = [row[column] for row in expected]
        if column in ("label", "_source"):
            original = [value.encode() for value in original]
        read = values.to_list() if column == "bag" else values.numpy().tolist()
        assert read == original, column


REFUSED = [
    ("parquet", pa.dense_union([pa.field("a", pa.int8())]), "Unhandled type"),
    ("parquet", pa.struct([]), "no child field"),
    ("tfrecord", pa.timestamp("us"), "a tf.Example has booleans, numbers"),
    ("tfrecord", pa.struct([("a", pa.int8())]), "a tf.Example has booleans, numbers"),
    ("tfrecord", pa.uint64(), "cannot hold every uint64"),
    ("tfrecord", pa.list_(pa.uint64(), 2), "cannot hold every uint64"),
    ("jsonl", pa.month_day_nano_interval(), "no JSON form"),
    ("csv", pa.list_(pa.month_day_nano_interval()), "no JSON form"),
]


@pytest.mark.parametrize(("name", "kind", "reason"), REFUSED)
def test_columns_that_do_not_fit_are_refused_by_name(
    name: str, kind: pa.DataType, reason: str
) -> None:
    schema = pa.schema([("fine", pa.int64()), ("odd", kind)])
    with pytest.raises(SinkError) as caught:
        sink_class(name)().check_schema(schema)
    message = str(caught.value)
    assert message.startswith(f"expected columns that {name} can hold. Received: column 'odd' as ")
    assert reason in message
    assert message.endswith("Leave it out with --keep, or choose another --output_format.")


def test_two_columns_of_one_name_are_refused() -> None:
    schema = pa.schema([("a", pa.int64()), ("a", pa.int64())])
    with pytest.raises(SinkError, match=r"names of their own\. Received: 'a' 2 times"):
        sink_class("parquet")().check_schema(schema)


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(KeyError, match=r"parquet, tfrecord, jsonl, csv\. Received: orc"):
        sink_class("orc")


def test_provenance_is_last_or_absent() -> None:
    batch = pa.record_batch({"_row": [1], "a": [2], "_source": ["s"], "b": [3]})
    assert arranged(batch, provenance=True).to_pylist() == [
        {"a": 2, "b": 3, "_source": "s", "_row": 1}]
    assert arranged(batch, provenance=False).schema.names == ["a", "b"]
    for provenance in (True, False):
        assert arranged_schema(batch.schema, provenance) == arranged(batch, provenance).schema


@pytest.mark.parametrize("name", SINK_NAMES)
def test_a_part_that_was_cut_short_never_counts_as_whole(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / name, [scored_batch(10)])
    path.write_bytes(path.read_bytes()[:-60])
    try:
        rows = sink_class(name)().count_rows(str(path))
    except ValueError:
        assert name in ("csv", "parquet")
    else:
        assert rows == 9


def test_parquet_needs_no_seeking() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    writer = sink_class("parquet")().open(pipe, EMPTY.schema)
    writer.write(scored_batch(5))
    writer.finish()
    assert pq.read_table(io.BytesIO(pipe.data)).num_rows == 5
