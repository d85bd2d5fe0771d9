"""Columns that a table of failed rows lacks, and its source has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources import source_of
from pipelines.sources.base import Source
from pipelines.sources.csv import CsvSource
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.sources.parquet import ParquetSource
from pipelines.sources.tfrecord import TFRecordSource
from pipelines.splits import Split
from tests.pipelines.inputs import example, write_jsonl, write_records
from tests.pipelines.sources.failed_parts import (
    absent,
    blocks_of,
    failures_of,
    flags,
    prepared,
    read_tables,
    rows_of,
    write_table,
)
from tests.pipelines.sources.reading import input_files
from transforms.failures import Failure


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
