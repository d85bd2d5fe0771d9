"""Model outputs as columns: values, types that do not depend on the batch, no copies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.engine.arrays import numpy_dtype
from transforms.engine.signature import TensorField
from transforms.outputs import OutputError, output_schema, outputs_to_columns

DTYPES = [
    "bool",
    "string",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
]


def values_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    if dtype == "string":
        flat = np.empty(count, object)
        flat[:] = [b"%d\0" % index for index in range(count)]
        return flat.reshape(shape)
    return (
        (np.arange(count) % 2 if dtype == "bool" else np.arange(count) % 100)
        .astype(numpy_dtype(dtype))
        .reshape(shape)
    )


@settings(max_examples=150)
@given(
    dtype=st.sampled_from(DTYPES),
    row_shape=st.lists(st.integers(0, 3), max_size=3).map(tuple),
    rows=st.integers(0, 3),
    data=st.data(),
)
def test_columns_hold_the_values_in_the_planned_types(
    dtype: str, row_shape: tuple[int, ...], rows: int, data: st.DataObject
) -> None:
    free = tuple(data.draw(st.sampled_from([size, None])) for size in row_shape)
    field = TensorField("y", dtype, free)
    values = values_of(dtype, (rows, *row_shape))
    ((name, column),) = outputs_to_columns({"y": values}, [field])
    column.validate(full=True)
    assert name == "y"
    assert column.type == output_schema([field])[0].type
    assert len(column) == rows
    expected = values.astype(np.float64) if dtype in ("float16", "bfloat16") else values
    assert column.to_pylist() == expected.tolist()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((), pa.float32()),
        ((3,), pa.list_(pa.float32(), 3)),
        ((2, 3), pa.list_(pa.list_(pa.float32(), 3), 2)),
        ((None,), pa.list_(pa.float32())),
        ((None, 3), pa.list_(pa.list_(pa.float32()))),
        ((0,), pa.list_(pa.float32())),
        (None, pa.list_(pa.float32())),
    ],
)
def test_types(shape: Any, kind: pa.DataType) -> None:
    assert output_schema([TensorField("y", "bfloat16", shape)]) == [pa.field("y", kind)]


@pytest.mark.parametrize("shape", [(), (4,), (2, 2), (None,)])
def test_numbers_are_not_copied(shape: Any) -> None:
    row_shape = tuple(4 if size is None else size for size in shape)
    values = np.arange(3 * math.prod(row_shape), dtype=np.float32).reshape(3, *row_shape)
    column = outputs_to_columns({"y": values}, [TensorField("y", "float32", shape)])[0][1]
    while not pa.types.is_floating(column.type):
        column = column.values
    assert np.shares_memory(column.to_numpy(), values)


def test_outputs_that_are_not_contiguous() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T
    column = outputs_to_columns({"y": values}, [TensorField("y", "float32", (3,))])[0][1]
    assert column.to_pylist() == values.tolist()


@pytest.mark.parametrize("row_shape", [(), (2,), (2, 3)])
def test_an_output_of_unknown_rank_is_one_flat_list(row_shape: tuple[int, ...]) -> None:
    values = np.arange(2 * math.prod(row_shape)).reshape(2, *row_shape)
    column = outputs_to_columns({"y": values}, [TensorField("y", "int64", None)])[0][1]
    assert column.to_pylist() == values.reshape(2, -1).tolist()


def test_columns_come_in_the_order_of_the_fields() -> None:
    outputs = {"a": np.zeros(2, np.int8), "b": np.ones(2, np.int8)}
    fields = [TensorField("b", "int8", ()), TensorField("a", "int8", ())]
    assert [name for name, _ in outputs_to_columns(outputs, fields)] == ["b", "a"]


def test_parquet_gives_them_back(tmp_path: Path) -> None:
    fields = [
        TensorField("scores", "bfloat16", (2, 3)),
        TensorField("tokens", "string", (None,)),
        TensorField("nothing", "float32", (0,)),
    ]
    outputs = {
        "scores": np.arange(12).reshape(2, 2, 3).astype(ml_dtypes.bfloat16),
        "tokens": values_of("string", (2, 2)),
        "nothing": np.zeros((2, 0), np.float32),
    }
    columns = outputs_to_columns(outputs, fields)
    schema = pa.schema(output_schema(fields))
    table = pa.table(dict(columns), schema=schema)
    pq.write_table(table, tmp_path / "part.parquet")
    assert pq.read_table(tmp_path / "part.parquet").to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("outputs", "received"),
    [
        ({"z": np.zeros(2, np.float32)}, "outputs z"),
        ({"y": np.zeros((2, 4), np.float32)}, r"float32\[2, 4\]"),
        ({"y": np.zeros(2, np.float32)}, r"float32\[2\]"),
    ],
)
def test_outputs_that_are_not_as_the_signature_says(outputs: Any, received: str) -> None:
    with pytest.raises(OutputError, match=rf"expected output 'y' as .* Received: {received}"):
        outputs_to_columns(outputs, [TensorField("y", "float32", (3,))])


def test_dtypes_that_no_column_holds() -> None:
    with pytest.raises(OutputError, match="Received: complex64. Cast it in the model"):
        output_schema([TensorField("y", "complex64", ())])
