"""Tables of failed rows: what is in them, and what is decoded."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources import source_of
from pipelines.sources.base import InputError
from pipelines.sources.csv import CsvSource
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.sources.origins import METADATA_KEY, Origin
from pipelines.sources.parquet import ParquetSource
from pipelines.sources.tfrecord import TFRecordSource
from pipelines.splits import Split
from tests.pipelines.inputs import example, write_records
from tests.pipelines.sources.failed_parts import (
    absent,
    blocks_of,
    failures_of,
    flags,
    lines,
    prepared,
    read_tables,
    rows_of,
    write_table,
)
from tests.pipelines.sources.reading import input_files
from transforms.failures import Failure


def test_rows_with_columns_records_and_neither_come_in_their_order(tmp_path):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    failures = [
        absent(path, 0),
        Failure(str(path), 1, "infer", "E", "m", {"id": 100, "x": [9.0]}),
        Failure(str(path), 2, "decode", "E", "m", b' {"id": 200, "x": [7]} '),
        Failure(str(path), 3, "decode", "E", "m", b"{no json"),
        absent(path, 4),
    ]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    again, blocks = read_tables(table)
    assert again.row_unit == "row"
    assert [(row["_row"], row["id"], row["x"]) for row in rows_of(blocks)] == [
        (0, 0, [0, 0.5]), (1, 100, [9]), (2, 200, [7]), (4, 4, [4, 0.5]),
    ]  # fmt: skip
    assert {row["_source"] for row in rows_of(blocks)} == {str(path)}
    [failure] = failures_of(blocks)
    assert (failure.row, failure.error, failure.data) == (3, "JsonError", b"{no json")


def test_a_table_says_of_its_failed_rows_what_their_source_said(tmp_path):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = write_table(tmp_path / "t.parquet", source, split, [absent(path, 3)])
    again, _ = read_tables(table)
    assert again.origin(Split(0, (str(table),))) == source.origin(split)


def test_a_mended_value_is_taken_as_it_stands(tmp_path):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = write_table(
        tmp_path / "t.parquet", source, split, [Failure(str(path), 1, "decode", "E", "m", b"{no")])
    mended = pq.read_table(table).set_column(0, "id", pa.array([77]))
    pq.write_table(mended.append_column("more", pa.array(["text"])), table)
    _, blocks = read_tables(table)
    [row] = rows_of(blocks)
    assert (row["id"], row["x"], row["more"], row["_row"]) == (77, None, "text", 1)


@pytest.mark.parametrize("error", ["DamagedFileError", "RecordSizeError"])
def test_what_stands_for_the_rest_of_a_file_is_no_row(tmp_path, error):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = write_table(tmp_path / "t.parquet", source, split, [absent(path, 2, error)])
    _, blocks = read_tables(table)
    is_rest = error == "DamagedFileError"
    assert len(rows_of(blocks)) == (not is_rest)
    assert [(row.error, row.row, row.message) for row in failures_of(blocks)] == [
        (error, 2, "why")] * is_rest


def test_a_table_without_metadata_names_what_it_lacks(tmp_path):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    failures = [absent(path, 2), Failure(str(path), 3, "infer", "E", "m", {"id": 5, "x": [1.0]})]
    table = write_table(tmp_path / "t.parquet", source, split, failures, metadata=False)
    _, blocks = read_tables(table)
    assert [(row["id"], row["_row"]) for row in rows_of(blocks)] == [(5, 3)]
    [failure] = failures_of(blocks)
    assert (failure.source, failure.row, failure.error) == (str(path), 2, "NoCopyError")
    assert f"Score row 2 of {path}" in failure.message


def test_whole_records_are_fed_again(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", [example(id=i) for i in range(4)])
    source, [split] = prepared(TFRecordSource(), path, raw=True)
    records = [block.batch.column("record") for block in blocks_of(source, [split])]
    stored = [record for column in records for record in column.to_pylist()]
    failures = [
        Failure(str(path), 1, "infer", "E", "m", {"record": stored[1], "id": 1}),
        absent(path, 2),
        Failure(str(path), 3, "decode", "E", "m", stored[3]),
    ]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table, raw=True)
    assert [(row["record"], row["id"]) for row in rows_of(blocks)] == [
        (stored[i], i) for i in (1, 2, 3)]


def test_an_own_column_of_records_is_not_decoded(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", [example(record=b"r%d" % i) for i in range(4)])
    source, [split] = prepared(TFRecordSource(), path)
    failures = [
        Failure(str(path), 0, "infer", "E", "m", {"record": b"own"}),
        Failure(str(path), 1, "decode", "E", "m", example(record=b"inner")),
        Failure(str(path), 2, "decode", "E", "m", b"no example \xff"),
        absent(path, 3),
    ]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table)
    assert [row["record"] for row in rows_of(blocks)] == [b"own", b"inner", b"r3"]
    assert [failure.row for failure in failures_of(blocks)] == [2]


@pytest.mark.parametrize("make", [TFRecordSource, JsonLinesSource])
def test_records_above_the_limit_of_the_command_fail_with_their_copy(tmp_path, make):
    record = b'{"id": 1}' if make is JsonLinesSource else example(id=1)
    path = tmp_path / "a.jsonl"
    if make is TFRecordSource:
        write_records(path, [record] * 3)
    else:
        path.write_bytes(record + b"\n")
    source, [split] = prepared(make(), path)
    table = write_table(
        tmp_path / "t.parquet", source, split,
        [Failure(str(path), 0, "decode", "E", "m", record)])  # fmt: skip
    _, blocks = read_tables(table, given=["--max_record_bytes", "5"])
    assert [failure.error for failure in failures_of(blocks)] == ["RecordSizeError"]


def test_parquet_columns_come_in_their_own_types(tmp_path):
    tensors = pa.fixed_shape_tensor(pa.float32(), (2, 2))
    values = pa.array(np.arange(24, dtype=np.float32))
    stored = pa.table({
        "image": pa.ExtensionArray.from_storage(
            tensors, pa.FixedSizeListArray.from_arrays(values, 4)),
        "kind": pa.array(list("abcabc")).dictionary_encode(),
    })  # fmt: skip
    path = tmp_path / "in.parquet"
    pq.write_table(stored, path, row_group_size=2)
    source, [split] = prepared(ParquetSource(), path)
    rows = rows_of(blocks_of(source, [split]))
    copy = {name: rows[2][name] for name in ("image", "kind")}
    failures = [absent(path, 1), Failure(str(path), 2, "infer", "E", "m", copy), absent(path, 5)]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table)
    assert blocks[0].batch.schema.field("image").type == tensors
    assert failures_of(blocks) == []
    assert rows_of(blocks) == [rows[1], rows[2], rows[5]]


def test_a_copy_that_lacks_the_value_it_failed_for_is_read_again(tmp_path):
    texts = pa.StringArray.from_buffers(
        3, pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), pa.py_buffer(b"a\xffc"))
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": [0, 1, 2], "text": texts}), path)
    source, [split] = prepared(ParquetSource(), path)
    failures = failures_of(blocks_of(source, [split]))
    assert [(failure.row, failure.data["id"]) for failure in failures] == [(1, 1)]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table)
    assert [(failure.row, failure.error) for failure in failures_of(blocks)] == [
        (1, "ArrowInvalid")]
    mended = pq.read_table(table)
    at = mended.schema.get_field_index("text")
    pq.write_table(mended.set_column(at, "text", pa.array(["mended"])), table)
    _, blocks = read_tables(table)
    assert [(row["id"], row["text"]) for row in rows_of(blocks)] == [(1, "mended")]


def test_tables_and_others_are_scored_apart(tmp_path):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = write_table(tmp_path / "t.parquet", source, split, [absent(path, 2)])
    other = tmp_path / "u.parquet"
    pq.write_table(pa.table({"id": [1]}), other)
    for paths in ([table, other], [other, table]):
        found = source_of("parquet", input_files(paths), flags())
        with pytest.raises(InputError, match="Score them apart"):
            found.plan(input_files(paths), 2**20)


def test_tables_of_other_formats_are_scored_apart(tmp_path):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = write_table(tmp_path / "t.parquet", source, split, [absent(path, 2)])
    (tmp_path / "in.csv").write_text("id,x\n1,2\n")
    other, [split] = prepared(CsvSource(), tmp_path / "in.csv")
    failed = [absent(tmp_path / "in.csv", 0)]
    tables = [table, write_table(tmp_path / "u.parquet", other, split, failed)]
    with pytest.raises(InputError, match="Received: csv, counted by row"):
        read_tables(*tables)


@pytest.mark.parametrize("change", [
    {"version": 2}, {"format": 5}, {"row_unit": "mile"}, {"schema": "AAAA"}, {"split": [1]},
    {"written": 3}, {"size_bytes": "many"}, None,
])  # fmt: skip
def test_metadata_of_another_kind_are_refused(tmp_path, change):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = pq.read_table(write_table(tmp_path / "t.parquet", source, split, [absent(path, 2)]))
    metadata = dict(table.schema.metadata)
    values = json.loads(metadata[METADATA_KEY])
    text = "[" * 100_000 if change is None else json.dumps(values | change)
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: text.encode()}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="expected failed rows"):
        read_tables(tmp_path / "t.parquet")


def test_origins_are_their_metadata():
    origin = Origin(
        "csv", "byte", pa.schema([("ü", pa.int8())]), {"header": ["ü"]},
        Split(3, ("a.csv",), 5, 9, byte_rows=True), 12)  # fmt: skip
    assert Origin.from_metadata(origin.to_metadata()) == origin
    assert Origin.from_metadata({}) is None
    assert origin.split_with("a.csv", 8) == origin.split
    assert origin.split_with("a.csv", 9) == Split(0, ("a.csv",), byte_rows=True)
    assert origin.split_with("b.csv", 8) == Split(0, ("b.csv",), byte_rows=True)
