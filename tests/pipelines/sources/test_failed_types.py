"""Columns of every type keep it from job to job, as failed rows and as rows scored again."""

from __future__ import annotations

import datetime
import decimal
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import source_of
from pipelines.sources.base import Source
from pipelines.sources.parquet import ParquetSource
from pipelines.splits import Split
from tests.pipelines.sources.failed_parts import (
    absent,
    blocks_of,
    failures_of,
    flags,
    prepared,
    rows_of,
    write_table,
)
from tests.pipelines.sources.reading import input_files
from transforms.failures import Failure

ROWS = 4
# Of these the table has no copy.
ABSENT = 3

_TIMES = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2200, 1, 1))
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
LEAVES = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.decimal128(12, 3), st.decimals(-999, 999, places=3)),
    (pa.decimal256(50, 1), st.decimals(-999, 999, places=1)),
    (pa.timestamp("us", "Europe/Berlin"), _TIMES),
    (pa.timestamp("ns"), _TIMES),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.string(), _TEXTS),
    (pa.large_string(), _TEXTS),
    (pa.string_view(), _TEXTS),
    (pa.binary(2), st.binary(min_size=2, max_size=2)),
    (pa.dictionary(pa.int8(), pa.string()), _TEXTS),
    (pa.dictionary(pa.int32(), pa.large_string(), ordered=True), _TEXTS),
]


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Types around those of `inner`, each with its values."""

    def around(one: tuple[pa.DataType, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
        kind, values = one
        lists = st.lists(st.none() | values, max_size=2)
        made = [
            (pa.list_(kind), lists),
            (pa.large_list(kind), lists),
            (pa.struct([("a", kind), ("b", pa.int8())]), st.fixed_dictionaries({"a": values})),
            (pa.map_(pa.string(), kind), st.lists(st.tuples(_TEXTS, values), max_size=2)),
        ]
        if not pa.types.is_null(kind):
            two = st.lists(values, min_size=2, max_size=2)
            made.append((pa.list_(kind, 2), two))
        return st.sampled_from(made)

    return inner.flatmap(around)


TYPES = st.recursive(st.sampled_from(LEAVES), nested, max_leaves=3)


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    kind, values = draw(TYPES)
    return pa.array([draw(st.none() | values) for _ in range(ROWS)], kind)


def failed(rows: list[dict[str, Any]]) -> list[Failure]:
    """All rows, as a job would give them whose model refuses them."""
    failures = []
    for row in rows:
        place = row["_source"], row["_row"]
        data = {name: row[name] for name in row if name not in ("_source", "_row")}
        failures.append(
            absent(*place) if row["_row"] == ABSENT else Failure(*place, "infer", "E", "m", data))
    return failures


def read(table: Path) -> tuple[Source, Split, list[dict[str, Any]]]:
    source, [split] = prepared(source_of("parquet", input_files([table]), flags()), table)
    blocks = blocks_of(source, [split])
    assert [failure.message for failure in failures_of(blocks)] == []
    for block in blocks:
        assert block.batch.schema.equals(source.block_schema(), check_metadata=True)
    return source, split, rows_of(blocks)


def check(folder: Path, column: pa.Array) -> None:
    path = folder / "in.parquet"
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("v", column.type, metadata={"unit": "mm"}),
        ],
        {"pandas": "{}", "own": "text"},
    )
    pq.write_table(pa.Table.from_arrays([pa.array(range(ROWS)), column], schema=schema), path)
    first, [split] = prepared(ParquetSource(), path)
    rows = rows_of(blocks_of(first, [split]))
    table = write_table(folder / "0.parquet", first, split, failed(rows))
    stored = pq.read_table(table)
    for at in (1, 2):
        source, split, found = read(table)
        assert found == rows
        assert source.block_schema().equals(first.block_schema(), check_metadata=True)
        table = write_table(folder / f"{at}.parquet", source, split, failed(found))
        again = pq.read_table(table)
        assert again.schema.equals(stored.schema, check_metadata=True)
        assert again.to_pylist() == stored.to_pylist()


@settings(max_examples=40, deadline=None)
@given(columns())
def test_types_values_and_metadata_stay_what_they_were(column):
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), column)


@pytest.mark.parametrize(("kind", "value"), [
    (pa.struct([("a", pa.dictionary(pa.int8(), pa.string()))]), {"a": "x"}),
    (pa.list_(pa.string_view()), ["x", None]),
    (pa.list_(pa.list_(pa.int8(), 2)), [[1, 2]]),
])  # fmt: skip
def test_types_that_tables_hold_in_another_form_stay_so(tmp_path, kind, value):
    check(tmp_path, pa.array([value, None, value, value], kind))


def test_decimals_are_no_floats(tmp_path):
    check(tmp_path, pa.array([decimal.Decimal("0.1")] * ROWS, pa.decimal128(3, 1)))
