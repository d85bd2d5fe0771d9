"""Failed parts hold the input's own columns unchanged, and why each row failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.failed_rows import MAX_COPY_BYTES, failed_schema, failures_to_batch
from transforms.failures import Failure

INPUT = pa.schema([
    pa.field("x", pa.int32(), nullable=False),
    ("words", pa.list_(pa.string())),
    ("image", pa.fixed_shape_tensor(pa.uint8(), [2, 2])),
    ("kind", pa.dictionary(pa.int8(), pa.string())),
    ("_source", pa.string()),
])


def rows_of(failures: list[Failure], schema: pa.Schema = INPUT) -> list[dict[str, Any]]:
    batch = failures_to_batch(failures, failed_schema(schema))
    assert batch.schema == failed_schema(schema)
    batch.validate(full=True)
    return batch.to_pylist()


def failed(data: Any, row: int | None = 3) -> Failure:
    return Failure("/in/a", row, "infer", "ValueError", "bad", data)


def test_the_schema_is_the_inputs_then_record_then_why() -> None:
    schema = failed_schema(INPUT)
    assert schema.names == [
        "x", "words", "image", "kind", "record",
        "_source", "_row", "_stage", "_error", "_message"]
    assert schema.field("kind").type == pa.string()
    assert schema.field("image").type == pa.list_(pa.uint8(), 4)
    assert schema.field("record").type == pa.binary()
    assert all(field.nullable for field in schema)


def test_decoded_rows_keep_their_columns_and_undecoded_ones_their_bytes() -> None:
    values = {"x": 7, "words": ["a", None], "image": [1, 2, 3, 4], "kind": "k"}
    first, second, third = rows_of(
        [failed(values), failed(b"\x00raw", row=None), Failure(None, 5, "read", "E", "cut off")])
    why = {"_source": "/in/a", "_stage": "infer", "_error": "ValueError", "_message": "bad"}
    empty = dict.fromkeys(("x", "words", "image", "kind"))
    assert first == values | {"record": None, "_row": 3} | why
    assert second == empty | {"record": b"\x00raw", "_row": None} | why
    assert third == empty | {"record": None, "_source": None, "_row": 5} | {
        "_stage": "read", "_error": "E", "_message": "cut off"}


def test_numpy_values_are_values_too() -> None:
    values = {"x": np.int64(7), "words": np.array(["a"]), "image": np.arange(4, dtype=np.uint8)}
    (row,) = rows_of([failed(values)])
    assert (row["x"], row["words"], row["image"]) == (7, ["a"], [0, 1, 2, 3])


@pytest.mark.parametrize("size", [MAX_COPY_BYTES, MAX_COPY_BYTES + 1])
def test_a_copy_above_one_mebibyte_is_null(size: int) -> None:
    schema = pa.schema([("s", pa.string()), ("n", pa.list_(pa.int64()))])
    copies = [
        b"x" * size,
        {"s": "x" * size},
        {"s": "ü" * (size // 2) + "x" * (size % 2)},
        {"s": "x" * (size % 8), "n": np.zeros(size // 8, np.int64)},
        {"s": "x" * (size % 8), "n": [0] * (size // 8)},
    ]
    rows = rows_of([failed(copy) for copy in copies], schema)
    kept = [row["record"] is not None or row["s"] is not None for row in rows]
    assert kept == [size <= MAX_COPY_BYTES] * len(copies)
    assert all(row["_message"] == "bad" for row in rows)


def test_an_input_column_named_record_is_where_undecoded_bytes_go() -> None:
    schema = pa.schema([("record", pa.large_binary())])
    assert failed_schema(schema).names.count("record") == 1
    read, converted = rows_of([failed(b"raw"), failed({"record": b"parsed"})], schema)
    assert (read["record"], converted["record"]) == (b"raw", b"parsed")


def test_an_input_column_named_record_of_another_type_stays_the_inputs_own() -> None:
    schema = pa.schema([("record", pa.int64())])
    undecoded, decoded = rows_of([failed(b"raw"), failed({"record": 5})], schema)
    assert (undecoded["record"], decoded["record"]) == (None, 5)


def test_a_value_that_does_not_fit_costs_its_cell_alone() -> None:
    good, bad = rows_of([failed({"x": 1, "kind": "a"}), failed({"x": 2**40, "kind": "b"})])
    assert (good["x"], good["kind"], good["_message"]) == (1, "a", "bad")
    assert (bad["x"], bad["kind"]) == (None, "b")
    assert bad["_message"].startswith("bad (column 'x' could not be copied: ")


def test_messages_of_broken_text_are_kept_readable() -> None:
    failure = Failure("s", 0, "decode", "E", "caf\udce9", None)
    assert rows_of([failure])[0]["_message"] == r"caf\udce9"


def test_other_copies_are_refused() -> None:
    with pytest.raises(TypeError, match="a dict by column, bytes or None"):
        rows_of([failed(5)])
