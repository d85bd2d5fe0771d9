"""Rows that are read again from their sources, in whatever order they are asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources import reread_rows
from pipelines.sources.base import BLOCK_ROWS, ReadRequest, Source
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.sources.parquet import ParquetSource
from pipelines.sources.reread_rows import Place, RereadRows
from pipelines.splits import Split
from tests.pipelines.inputs import write_jsonl
from tests.pipelines.sources.reading import input_files
from transforms.block import Block
from transforms.failures import Failure

COUNT = 2 * BLOCK_ROWS + 100


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Split]:
    """The splits that were opened."""
    opened: list[Split] = []
    for kind in (JsonLinesSource, ParquetSource):

        def read(self: Any, split: Split, read: Any = kind.read) -> Iterator[Block]:
            opened.append(split)
            yield from read(self, split)

        monkeypatch.setattr(kind, "read", read)
    return opened


def rows_of(source: Source, *paths: Path) -> RereadRows:
    plan = source.plan(input_files(paths), 2**30)
    source = source.prepared(ReadRequest(plan.schema, kept=tuple(plan.schema.names)))
    origin = source.origin(plan.splits[0])
    assert origin is not None
    return RereadRows(source, origin)


def ids(found: Iterator[pa.RecordBatch | Failure]) -> list[int]:
    return [row.error if isinstance(row, Failure) else row["id"][0].as_py() for row in found]


def shuffled(rows: int, count: int) -> list[int]:
    return random.Random(rows).sample(range(rows), count)


def test_a_text_is_read_once_for_rows_in_no_order(tmp_path, passes):
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": i} for i in range(COUNT)])
    order = shuffled(COUNT, 200)
    rows = rows_of(JsonLinesSource(), path)
    assert ids(rows.found([Place(str(path), i) for i in order])) == order
    assert len(passes) == 1


def test_a_row_group_is_read_once_for_rows_in_no_order(tmp_path, passes):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": range(COUNT)}), path, row_group_size=COUNT // 3)
    order = sorted(shuffled(COUNT, 200), reverse=True)
    rows = rows_of(ParquetSource(), path)
    assert ids(rows.found([Place(str(path), i) for i in order])) == order
    assert [split.start for split in passes] == [0, 1, 2]


def test_files_are_read_once_each_where_their_rows_alternate(tmp_path, passes):
    paths = [write_jsonl(tmp_path / f"{at}.jsonl", [{"id": at}, {"id": at + 2}]) for at in (0, 1)]
    order = [Place(str(paths[at % 2]), at // 2) for at in (3, 0, 2, 1)]
    assert ids(rows_of(JsonLinesSource(), *paths).found(order)) == [3, 0, 2, 1]
    assert [split.files[0] for split in passes] == [str(path) for path in paths]


@pytest.mark.parametrize("window_bytes", [0, 1000, 3000])
def test_no_more_than_a_window_is_held(tmp_path, passes, monkeypatch, window_bytes):
    monkeypatch.setattr(reread_rows, "WINDOW_BYTES", window_bytes)
    sizes = [1 if i % 10 else 400 for i in range(100)]
    path = write_jsonl(
        tmp_path / "in.jsonl", [{"id": i, "text": "x" * size} for i, size in enumerate(sizes)])
    rows = rows_of(JsonLinesSource(), path)
    held: list[int] = []
    window = rows._window

    def measured(places: list[Place]) -> list[Any]:
        found = window(places)
        held.append(sum(row.nbytes for row in found))
        assert held[-1] <= window_bytes or len(found) == 1
        return found

    monkeypatch.setattr(rows, "_window", measured)
    order = shuffled(100, 100)
    assert ids(rows.found([Place(str(path), i) for i in order])) == order
    assert held
    assert len(passes) <= 100


def test_few_places_at_once_make_no_window_smaller(tmp_path, passes):
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": i} for i in range(COUNT)])
    rows = rows_of(JsonLinesSource(), path)
    order = shuffled(COUNT, 200)
    for some in ([1, 0], order):
        assert ids(rows.found([Place(str(path), i) for i in some])) == some
    assert len(passes) == 1


def test_rows_in_order_are_not_held(tmp_path, passes, monkeypatch):
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": i} for i in range(100)])
    rows = rows_of(JsonLinesSource(), path)
    monkeypatch.setattr(rows, "_window", None)
    order = [0, 3, 3, 50, 99]
    assert ids(rows.found([Place(str(path), i) for i in order])) == order
    assert len(passes) == 1


def test_rows_that_are_gone_keep_their_turn(tmp_path):
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": i} for i in range(3)])
    places = [Place(str(path), i) for i in (2, 7, 0)] + [Place(str(tmp_path / "a.jsonl"), 0)]
    assert ids(rows_of(JsonLinesSource(), path).found(places)) == [
        2, "SourceChangedError", 0, "FileNotFoundError"]
