"""Tables of failed rows: what is in them, what is decoded, and what is read again."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.failed_rows import failed_schema, failures_to_batch
from pipelines.option_flags import add_source_arguments
from pipelines.sinks.parquet import stored_schema
from pipelines.sources import csv_borders, source_of
from pipelines.sources.base import InputError, ReadRequest, Source
from pipelines.sources.csv import CsvSource
from pipelines.sources.failed_tables import FailedTablesSource
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.sources.origins import METADATA_KEY, Origin
from pipelines.sources.parquet import ParquetSource
from pipelines.sources.source_rows import SourceRows
from pipelines.sources.tfrecord import TFRecordSource
from pipelines.splits import Split
from tests.pipelines.inputs import example, write_jsonl, write_records
from tests.pipelines.sources.reading import input_files
from transforms.block import Block
from transforms.failures import Failure


def flags(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_arguments(parser)
    return parser.parse_args(given)


def prepared(
    source: Source, *paths: Path, kept: Sequence[str] | None = None, **request: Any
) -> tuple[Source, tuple[Split, ...]]:
    made = source.plan(input_files(paths), 2**26)
    wanted = ReadRequest(made.schema, kept=tuple(kept or made.schema.names), **request)
    return pickle.loads(pickle.dumps(source.prepared(wanted))), made.splits


def blocks_of(source: Source, splits: Sequence[Split]) -> list[Block]:
    return [block for split in splits for block in source.read(split)]


def rows_of(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [row for block in blocks for row in block.batch.to_pylist()]


def failures_of(blocks: Sequence[Block]) -> list[Failure]:
    return [failure for block in blocks for failure in block.failures]


def write_table(
    path: Path, source: Source, split: Split, failures: Sequence[Failure], metadata: bool = True
) -> Path:
    """What a job would leave of a split's failures."""
    schema = failed_schema(source.columns_schema())
    origin = source.origin(split)
    assert origin is not None
    rows = pa.Table.from_batches([failures_to_batch(failures, schema)]).cast(stored_schema(schema))
    pq.write_table(rows.replace_schema_metadata(origin.to_metadata() if metadata else None), path)
    return path


def read_tables(
    *paths: Path, given: Sequence[str] = (), **request: Any
) -> tuple[FailedTablesSource, list[Block]]:
    found = source_of("parquet", input_files(paths), flags(*given))
    assert isinstance(found, FailedTablesSource)
    source, splits = prepared(found, *paths, **request)
    blocks = blocks_of(source, splits)
    for block in blocks:
        assert block.batch.schema.names == source.block_schema().names
        block.batch.validate(full=True)
    total = sum(block.rows_in_split or 0 for block in blocks)
    assert total == len(rows_of(blocks)) + len(failures_of(blocks))
    assert isinstance(source, FailedTablesSource)
    return source, blocks


def absent(path: Path, row: int, error: str = "RecordSizeError", stage: str = "read") -> Failure:
    return Failure(str(path), row, stage, error, "why", None)


def lines(path: Path, count: int = 5) -> Path:
    return write_jsonl(path, [{"id": i, "x": [i, 0.5]} for i in range(count)])


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


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> tuple[Source, Path]:
    pq.write_table(pa.Table.from_pylist(rows), path / "in.parquet", row_group_size=2)
    return ParquetSource(), path / "in.parquet"


def as_jsonl(path: Path, rows: list[dict[str, Any]]) -> tuple[Source, Path]:
    return JsonLinesSource(), write_jsonl(path / "in.jsonl", rows)


def as_records(path: Path, rows: list[dict[str, Any]]) -> tuple[Source, Path]:
    records = [example(**row | {"text": row["text"].encode()}) for row in rows]
    return TFRecordSource(), write_records(path / "in.tfrecord", records)


def as_csv(path: Path, rows: list[dict[str, Any]]) -> tuple[Source, Path]:
    texts = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (path / "in.csv").write_text("\n".join(texts))
    return CsvSource(), path / "in.csv"


FORMATS = [as_parquet, as_jsonl, as_records, as_csv]


def some_rows(count: int = 5) -> list[dict[str, Any]]:
    return [{"id": i, "x": i + 0.5, "text": f"t{i}"} for i in range(count)]


@pytest.mark.parametrize("write", FORMATS)
def test_columns_that_were_not_read_come_from_the_source(tmp_path, write):
    source, path = write(tmp_path, some_rows())
    planned = source.plan(input_files([path]), 2**20).schema
    source, [split] = prepared(source, path, kept=["id"])
    infer = [Failure(str(path), row, "infer", "E", "m", {"id": 100 + row}) for row in (3, 1, 4)]
    table = write_table(tmp_path / "t.parquet", source, split, [infer[0], absent(path, 0)])
    # In no order, as a table that was sorted by something else.
    more = write_table(tmp_path / "u.parquet", source, split, infer[1:])
    whole = pa.concat_tables([pq.read_table(table).slice(1), pq.read_table(more)])
    pq.write_table(pa.concat_tables([whole, pq.read_table(table).slice(0, 1)]), table)
    again, blocks = read_tables(table, kept=["text", "id", "x"])
    expected = some_rows()
    assert [(row["id"], row["x"], row["text"], row["_row"]) for row in rows_of(blocks)] == [
        (100 + at if at else 0, expected[at]["x"],
         expected[at]["text"].encode() if write is as_records else expected[at]["text"], at)
        for at in (3, 1, 4, 0)]  # fmt: skip
    # They are read where they are named, and are in what fails again.
    assert set(again.named_only) == {"x", "text"}
    origin = again.origin(Split(0, (str(table),)))
    assert origin is not None
    assert {*origin.schema.names, *origin.others.names} == set(planned.names)
    _, blocks = read_tables(table, kept=["id"])
    assert [row["id"] for row in rows_of(blocks)] == [103, 101, 104, 0]


@pytest.mark.parametrize("write", FORMATS)
def test_a_column_named_as_the_copies_are_comes_from_the_source(tmp_path, write):
    rows = [{"id": i, "record": i + 0.5, "text": "t"} for i in range(4)]
    source, path = write(tmp_path, rows)
    source, [split] = prepared(source, path, kept=["id"])
    failures = [Failure(str(path), 1, "infer", "E", "m", {"id": 101}), absent(path, 2)]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    again, blocks = read_tables(table, kept=["id", "record"])
    assert [(row["id"], row["record"]) for row in rows_of(blocks)] == [(101, 1.5), (2, 2.5)]
    assert set(again.named_only) == {"record", "text"}


def test_only_what_the_table_lacks_is_read(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,x,text\n1,5,a\nmany,6,b\n")
    source, [split] = prepared(CsvSource(types=(("id", "int64"),)), path, kept=["id"])
    failures = failures_of(blocks_of(source, [split]))
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    mended = pq.read_table(table)
    pq.write_table(mended.set_column(0, "id", pa.array([2])), table)
    _, blocks = read_tables(table, kept=["id", "text"])
    assert [(row["id"], row["text"]) for row in rows_of(blocks)] == [(2, "b")]


def test_a_column_that_cannot_be_had_is_named(tmp_path):
    source, path = as_jsonl(tmp_path, some_rows())
    source, [split] = prepared(source, path, kept=["id"])
    failures = [Failure(str(path), 1, "infer", "E", "m", {"id": 1}), absent(path, 2)]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table, given=["--reread", "off"], kept=["x"])
    first, second = failures_of(blocks)
    assert (first.row, first.error, second.error) == (1, "NoCopyError", "NoCopyError")
    assert "expected column 'x'" in first.message
    assert "Pass --reread on" in first.message
    path.unlink()
    _, blocks = read_tables(table, kept=["x"])
    first, second = failures_of(blocks)
    assert (first.row, first.error) == (1, "FileNotFoundError")
    assert "no column 'x'" in first.message
    _, blocks = read_tables(table, kept=["id"])
    assert [row["id"] for row in rows_of(blocks)] == [1]


def test_columns_of_tables_alone_stay_so(tmp_path):
    source, path = as_jsonl(tmp_path, some_rows())
    source, [split] = prepared(source, path)
    table = write_table(tmp_path / "t.parquet", source, split, [absent(path, 2)])
    more = pq.read_table(table).append_column("more", pa.array(["text"]))
    pq.write_table(more, table)
    again, [split] = prepared(source_of("parquet", input_files([table]), flags()), table)
    second = write_table(tmp_path / "u.parquet", again, split, [absent(path, 2)])
    third, blocks = read_tables(second)
    assert third.tables_only == ("more",)
    assert [(row["id"], row["more"]) for row in rows_of(blocks)] == [(2, None)]


def test_many_rows_are_read_in_one_pass(tmp_path, monkeypatch):
    path = lines(tmp_path / "in.jsonl", 50_000)
    source, [split] = prepared(JsonLinesSource(), path)
    failures = [absent(path, row) for row in range(0, 50_000, 7)]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    passes = []
    read = JsonLinesSource.read
    monkeypatch.setattr(
        JsonLinesSource, "read", lambda self, split: passes.append(split) or read(self, split)
    )
    _, blocks = read_tables(table)
    assert [row["id"] for row in rows_of(blocks)] == list(range(0, 50_000, 7))
    assert len(passes) == 1


def test_rows_in_any_order_are_found(tmp_path):
    path = lines(tmp_path / "in.jsonl", 40_000)
    source, [split] = prepared(JsonLinesSource(), path)
    order = [39_999, 5, 20_000, 20_001, 4, 5, 30_000]
    tables = [
        write_table(tmp_path / f"{at}.parquet", source, split, [absent(path, row)])
        for at, row in enumerate(order)
    ]
    whole = pa.concat_tables([pq.read_table(table) for table in tables])
    pq.write_table(whole, tmp_path / "whole.parquet")
    _, blocks = read_tables(tmp_path / "whole.parquet")
    assert [row["_row"] for row in rows_of(blocks)] == order
    assert [row["id"] for row in rows_of(blocks)] == order


def test_rows_that_are_read_again_hold_no_more_than_themselves(tmp_path):
    path = lines(tmp_path / "in.jsonl", 40_000)
    source, [split] = prepared(JsonLinesSource(), path)
    origin = source.origin(split)
    assert origin is not None
    there = SourceRows(source, origin, str(path))
    found = [there.find(row) for row in (3, 20_000, 39_999)]
    there.close()
    assert [row.column("id").to_pylist() for row in found] == [[3], [20_000], [39_999]]
    assert max(row.get_total_buffer_size() for row in found) < 2**12


def test_a_text_whose_quotes_changed_fails_its_rows_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_borders, "WINDOW_BYTES", 50)
    monkeypatch.setattr(csv_borders, "MAX_WINDOW_BYTES", 200)
    path = tmp_path / "in.csv"
    path.write_bytes(b"a\n" + b"1\n2\n" * 200)
    source = CsvSource()
    plan = source.plan(input_files([path]), 33)
    source = source.prepared(ReadRequest(plan.schema, kept=("a",)))
    tables = []
    for at, split in enumerate(plan.splits):
        tables.append(tmp_path / f"{at}.parquet")
        write_table(tables[-1], source, split, [absent(path, (split.stop or 802) - 1)])
    # As long as before, but its line ends may stand between quotes or not.
    path.write_bytes(b"a\n" + b'"\n"\n' * 200)
    failures = [row for table in tables for row in failures_of(read_tables(table)[1])]
    assert "CsvBorderError" in {failure.error for failure in failures}


def test_tables_put_together_read_the_files_of_all(tmp_path):
    paths = [lines(tmp_path / f"{at}.jsonl", 3 + at) for at in range(2)]
    source, splits = prepared(JsonLinesSource(), *paths)
    tables = [
        write_table(tmp_path / f"{at}.parquet", source, splits[at], [absent(paths[at], 2)])
        for at in range(2)
    ]
    whole = pa.concat_tables([pq.read_table(table) for table in tables])
    pq.write_table(whole, tmp_path / "whole.parquet")
    _, blocks = read_tables(tmp_path / "whole.parquet")
    expected = [(str(path), 2) for path in paths]
    assert [(row["_source"], row["_row"]) for row in rows_of(blocks)] == expected


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


def test_the_name_of_a_text_must_be_of_its_format(tmp_path):
    secret = tmp_path / "passwd"
    secret.write_text('{"id": 1, "x": [2]}\n')
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = write_table(tmp_path / "t.parquet", source, split, [absent(secret, 0)])
    _, blocks = read_tables(table)
    [failure] = failures_of(blocks)
    assert (failure.error, failure.data) == ("NoCopyError", None)
    assert "a name without .jsonl" in failure.message


def test_a_pipe_is_not_opened(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    table = write_table(tmp_path / "t.parquet", source, split, [absent(pipe, 0)])
    _, blocks = read_tables(table)
    assert [failure.error for failure in failures_of(blocks)] == ["FileNotFoundError"]


def test_other_filesystems_that_are_not_there_are_failures(tmp_path):
    path = lines(tmp_path / "in.jsonl")
    source, [split] = prepared(JsonLinesSource(), path)
    named = Failure("nowhere://a/b.jsonl", 0, "read", "E", "m")
    table = write_table(tmp_path / "t.parquet", source, split, [named])
    _, blocks = read_tables(table)
    assert [failure.error for failure in failures_of(blocks)] == ["ValueError"]


def test_csv_types_are_those_of_the_command(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id|text\n1|a\n2.5|b|\n3.5|'c'\n")
    source, [split] = prepared(CsvSource("|", types=(("id", "int64"),)), path)
    failures = failures_of(blocks_of(source, [split]))
    assert [failure.row for failure in failures] == [1, 2]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table)
    assert [failure.error for failure in failures_of(blocks)] == ["CsvError"] * 2
    _, blocks = read_tables(table, given=["--csv_types", "id=float64"])
    assert [(row["id"], row["text"]) for row in rows_of(blocks)] == [(3.5, "'c'")]
    [failure] = failures_of(blocks)
    assert (failure.row, failure.data) == (1, b"2.5|b|")


def test_csv_records_of_all_kinds_come_in_their_order(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n")
    source, [split] = prepared(CsvSource(), path)
    records = [b"1,a", b"2,b", b'3,"c\nd"', b"4", b"5,e", b'6,"""f"""\r\n', b"7,\xff", b"8, "]
    failures = [Failure(str(path), at, "decode", "E", "m", text) for at, text in enumerate(records)]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table)
    assert [(row["_row"], row["id"], row["text"]) for row in rows_of(blocks)] == [
        (0, 1, "a"), (1, 2, "b"), (2, 3, "c\nd"), (4, 5, "e"), (5, 6, '"f"'), (7, 8, " "),
    ]  # fmt: skip
    assert [(failure.row, failure.data) for failure in failures_of(blocks)] == [
        (3, b"4"), (6, b"7,\xff")]


def test_csv_records_of_a_file_without_columns_fail(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n")
    source, [split] = prepared(CsvSource(), path)
    failures = [Failure(str(path), 0, "decode", "CsvError", "m", b"1,a")]
    table = write_table(tmp_path / "t.parquet", source, split, failures)

    def with_header(*names: str) -> Path:
        stored = pq.read_table(table)
        values = json.loads(stored.schema.metadata[METADATA_KEY])
        values["written"]["header"] = names
        metadata = {METADATA_KEY: json.dumps(values).encode()}
        pq.write_table(stored.replace_schema_metadata(metadata), table)
        return table

    _, blocks = read_tables(with_header())
    [failure] = failures_of(blocks)
    assert (failure.row, failure.error, failure.data) == (0, "CsvError", b"1,a")
    with pytest.raises(InputError, match="names of their own"):
        read_tables(with_header("id", "id"))


@pytest.mark.parametrize("record", [b'"open', b"1,a\n2,b", b""])
def test_what_is_not_one_csv_record_fails(tmp_path, record):
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n2,b\n")
    source, [split] = prepared(CsvSource(), path)
    failures = [Failure(str(path), 1, "decode", "CsvError", "m", record)]
    table = write_table(tmp_path / "t.parquet", source, split, failures)
    _, blocks = read_tables(table)
    assert [failure.error for failure in failures_of(blocks)] == ["CsvError"]


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
