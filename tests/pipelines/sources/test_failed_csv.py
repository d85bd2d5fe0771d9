"""Failed rows of CSV: records that are decoded anew, and the command's types."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.sources.base import InputError
from pipelines.sources.csv import CsvSource
from pipelines.sources.origins import METADATA_KEY
from tests.pipelines.sources.failed_parts import (
    blocks_of,
    failures_of,
    prepared,
    read_tables,
    rows_of,
    write_table,
)
from transforms.failures import Failure


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
