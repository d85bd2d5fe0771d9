"""Batches and tables across a shuffle: equal, small, and found by Beam."""

from __future__ import annotations

import pickle
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from apache_beam.testing.util import assert_that, is_empty

from transforms.coders import RecordBatchCoder, TableCoder

WORDS = [f"a string of some length, number {index}" for index in range(50_000)]


def columns() -> dict[str, pa.Array]:
    numbers = np.arange(2 * len(WORDS), dtype=np.float64)
    return {
        "numbers": pa.array(numbers[::2]),
        "booleans": pa.array(numbers[::2] > 9),
        "strings": pa.array(WORDS),
        "large_strings": pa.array(WORDS, pa.large_string()),
        "string_views": pa.array(WORDS, pa.string_view()),
        "binary_views": pa.array([word.encode() for word in WORDS], pa.binary_view()),
        "dictionary": pa.array(WORDS).dictionary_encode(),
        "fixed": pa.FixedSizeListArray.from_arrays(pa.array(numbers), 2),
        "lists": pa.array(numbers.reshape(-1, 2).tolist()),
        "list_views": pa.array(numbers.reshape(-1, 2).tolist(), pa.list_view(pa.float64())),
        "structs": pa.StructArray.from_arrays([pa.array(WORDS)], ["word"]),
        "runs": pc.run_end_encode(pa.array(numbers[::2])),
        "tensors": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float64(), [1, 2]),
            pa.FixedSizeListArray.from_arrays(pa.array(numbers), 2),
        ),
    }


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    schema_metadata = {"made by": "a test"}
    whole = pa.record_batch(columns()).replace_schema_metadata(schema_metadata)
    field = whole.schema.field(0).with_metadata({"unit": "m"})
    return pa.RecordBatch.from_arrays(whole.columns, schema=whole.schema.set(0, field))


def check_equal(decoded: Any, expected: Any) -> None:
    assert type(decoded) is type(expected)
    assert decoded.schema.equals(expected.schema, check_metadata=True)
    assert decoded.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("bounds", [(0, 10), (4321, 10), (49_995, 5), (7, 0)])
def test_a_slice_is_small_and_equal(batch: pa.RecordBatch, bounds: tuple[int, int]) -> None:
    part = batch.slice(*bounds)
    encoded = RecordBatchCoder().encode(part)
    assert len(encoded) < 12_000
    assert len(pickle.dumps(part)) > 10_000_000
    check_equal(RecordBatchCoder().decode(encoded), part)


@pytest.mark.parametrize("name", columns())
@pytest.mark.parametrize("bounds", [(0, 10), (123, 10), (49_990, 10), (123, 0)])
def test_no_column_carries_its_parent(
    batch: pa.RecordBatch, name: str, bounds: tuple[int, int]
) -> None:
    encoded = RecordBatchCoder().encode(batch.select([name]).slice(*bounds))
    assert len(encoded) < 1_200


def test_nulls_survive() -> None:
    words = pa.array(["a", None, "b", None, "c"] * 3).dictionary_encode().slice(1, 2)
    lists = pa.array([[1], None, [2, 3], *[[4] * 9] * 9], pa.list_view(pa.int8())).slice(1, 2)
    part = pa.record_batch({"d": words, "v": pa.array([None, "x"], pa.string_view()), "l": lists})
    check_equal(RecordBatchCoder().decode(RecordBatchCoder().encode(part)), part)


def test_tables_keep_their_chunks(batch: pa.RecordBatch) -> None:
    table = pa.Table.from_batches([batch.slice(5, 2), batch.slice(90, 3)])
    decoded = TableCoder().decode(TableCoder().encode(table))
    check_equal(decoded, table)
    assert decoded.column(0).num_chunks == 2
    nothing = table.schema.empty_table()
    check_equal(TableCoder().decode(TableCoder().encode(nothing)), nothing)


def test_beam_finds_them_and_does_not_take_them_for_deterministic() -> None:
    for kind, coder in ((pa.RecordBatch, RecordBatchCoder), (pa.Table, TableCoder)):
        found = beam.coders.registry.get_coder(kind)
        assert type(found) is coder
        assert found.to_type_hint() is kind
        assert not found.is_deterministic()


def test_sizes_are_estimated_without_encoding(batch: pa.RecordBatch) -> None:
    part = batch.select(["numbers"]).slice(10, 100)
    assert RecordBatchCoder().estimate_size(part) == 800
    assert TableCoder().estimate_size(pa.Table.from_batches([part])) == 800


def _unlike(parts: Any, expected: list[Any]) -> list[str]:
    received = sorted(str(part.to_pylist()) for part in parts)
    return [] if received == sorted(map(str, expected)) else received


def test_batches_cross_a_shuffle() -> None:
    whole = pa.record_batch({"x": pa.array(range(1000))})
    parts = [whole.slice(start, 10) for start in range(0, 100, 10)]
    with beam.Pipeline("FnApiRunner") as pipeline:
        unlike = (
            pipeline
            | beam.Create(parts, reshuffle=False).with_output_types(pa.RecordBatch)
            | beam.Reshuffle()
            | beam.combiners.ToList()
            | beam.FlatMap(_unlike, [part.to_pylist() for part in parts])
        )
        assert_that(unlike, is_empty())
