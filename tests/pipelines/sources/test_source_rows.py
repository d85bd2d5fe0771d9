"""Failed rows without a copy: found in their sources, or why they are not."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources import csv_borders
from pipelines.sources.base import ReadRequest
from pipelines.sources.csv import CsvSource
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.sources.source_rows import SourceRows
from tests.pipelines.sources.failed_parts import (
    absent,
    failures_of,
    lines,
    prepared,
    read_tables,
    rows_of,
    write_table,
)
from tests.pipelines.sources.reading import input_files
from transforms.failures import Failure


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
