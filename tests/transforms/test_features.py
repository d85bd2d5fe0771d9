"""Arrow columns to arrays, against one row at a time in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.processes import python
from transforms.conversion import Conversion, FeatureError
from transforms.engine.signature import TensorField
from transforms.features import columns_to_arrays
from transforms.images import images_to_column
from transforms.matching import Feed, match_columns

MODERATE = settings(max_examples=120)


def feed(dtype: str, shape: tuple[int | None, ...] | None, column: str = "x") -> Feed:
    return Feed(column, column, TensorField(column, dtype, shape))


def batch_of(array: pa.Array, name: str = "x") -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([array], names=[name])


def rows_of(conversion: Conversion, count: int, name: str = "x") -> list[Any]:
    """Each row's array, or its error; fails where a row is in no place, or in two."""
    rows: list[Any] = [None] * count
    for group in conversion.groups:
        numbers = range(count) if group.rows is None else group.rows.tolist()
        assert len(numbers) == len(group.arrays[name])
        assert list(numbers) == sorted(numbers)
        for row, value in zip(numbers, group.arrays[name], strict=True):
            assert rows[row] is None
            rows[row] = value
    for error in conversion.errors:
        assert rows[error.row] is None
        rows[error.row] = error
    assert all(row is not None for row in rows)
    shapes = [group.arrays[name].shape[1:] for group in conversion.groups]
    assert len(set(shapes)) == len(shapes), "rows of one shape are in one group"
    return rows


def reference(row: Any, shape: tuple[int | None, ...]) -> np.ndarray | str:
    """What a row of nested lists is as float32, or the error's name."""
    if has_null(row):
        return "NullValueError"
    try:
        array = np.array(row, np.float32)
    except ValueError:
        return "ShapeError"
    if array.ndim == len(shape):
        fits = all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
        return array if fits else "ShapeError"
    try:
        return array.reshape([-1 if size is None else size for size in shape])
    except ValueError:
        return "ShapeError"


def has_null(row: Any) -> bool:
    return row is None or (isinstance(row, list) and any(has_null(value) for value in row))


def check_rows(conversion: Conversion, rows: list[Any], shape: tuple[int | None, ...]) -> None:
    for received, row in zip(rows_of(conversion, len(rows)), rows, strict=True):
        expected = reference(row, shape)
        if isinstance(expected, str):
            assert received.error == expected, (row, received)
            assert received.message.startswith("expected column 'x' as float32[")
        else:
            assert received.dtype == np.float32
            np.testing.assert_array_equal(received, expected)


VALUES = st.sampled_from([*map(float, range(1, 12)), None])
FLAT_ROWS = st.lists(
    st.one_of(st.lists(VALUES, max_size=6), st.just([1.0, 2.0, 3.0, 4.0]), st.none()), max_size=8
)
NESTED_ROW = st.one_of(
    st.lists(st.lists(VALUES, max_size=3), max_size=3),
    st.lists(st.lists(VALUES, min_size=1, max_size=2), min_size=2, max_size=2),
    st.just([[1.0, 2.0], [3.0, 4.0]]),
    st.none(),
)
FLAT_TYPES: list[Callable[[pa.DataType], pa.DataType]] = [
    pa.list_,
    pa.large_list,
    pa.list_view,
    pa.large_list_view,
]


def sliced(array: pa.Array, start: int, stop: int) -> pa.Array:
    return array.slice(start, max(0, stop - start))


@MODERATE
@given(
    rows=FLAT_ROWS,
    shape=st.sampled_from([(4,), (2, 2), (None,), (None, 2), (1,)]),
    list_of=st.sampled_from(FLAT_TYPES),
    value=st.sampled_from([pa.float32(), pa.float64(), pa.int64(), pa.float16()]),
    bounds=st.tuples(st.integers(0, 3), st.integers(0, 8)),
)
def test_flat_lists(rows: Any, shape: Any, list_of: Any, value: Any, bounds: Any) -> None:
    array = sliced(pa.array(rows, list_of(value)), *bounds)
    kept = rows[bounds[0] : max(bounds)]
    check_rows(columns_to_arrays(batch_of(array), [feed("float32", shape)]), kept, shape)


@MODERATE
@given(
    rows=st.lists(NESTED_ROW, max_size=8),
    shape=st.sampled_from([(2, 2), (None, 2), (None, None), (4,)]),
    outer=st.sampled_from(FLAT_TYPES),
    inner=st.sampled_from(FLAT_TYPES),
    bounds=st.tuples(st.integers(0, 3), st.integers(0, 8)),
)
def test_nested_lists(rows: Any, shape: Any, outer: Any, inner: Any, bounds: Any) -> None:
    array = sliced(pa.array(rows, outer(inner(pa.float32()))), *bounds)
    kept = rows[bounds[0] : max(bounds)]
    conversion = columns_to_arrays(batch_of(array), [feed("float32", shape)])
    if any(row is not None and (not row or [] in row) for row in kept):
        # Lists of nothing have no inner size to compare: only their place is checked.
        rows_of(conversion, len(kept))
    else:
        check_rows(conversion, kept, shape)


def test_rows_that_come_to_one_shape_are_one_group_in_order() -> None:
    rows = [[[1.0, 2.0, 3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]], [[9.0, 8.0, 7.0, 6.0]]]
    conversion = columns_to_arrays(batch_of(pa.array(rows)), [feed("float32", (4,))])
    check_rows(conversion, rows, (4,))
    assert len(conversion.groups) == 1


def test_views_whose_nulls_have_values_and_whose_rows_overlap() -> None:
    values = pa.array([1.0, 2.0, 3.0, 4.0], pa.float32())
    offsets, sizes = np.array([2, 0, 1], np.int32), np.array([2, 3, 2], np.int32)
    validity = np.packbits([1, 0, 1], bitorder="little")
    buffers = [pa.py_buffer(part.tobytes()) for part in (validity, offsets, sizes)]
    array = pa.Array.from_buffers(pa.list_view(pa.float32()), 3, buffers, children=[values])
    conversion = columns_to_arrays(batch_of(array), [feed("float32", (2,))])
    check_rows(conversion, [[3.0, 4.0], None, [2.0, 3.0]], (2,))


@MODERATE
@given(
    rows=st.lists(st.one_of(st.none(), st.lists(VALUES, min_size=4, max_size=4)), max_size=8),
    shape=st.sampled_from([(4,), (2, 2), (None,), (None, 2), (3,)]),
    bounds=st.tuples(st.integers(0, 3), st.integers(0, 8)),
)
def test_fixed_size_lists_of_fixed_size_lists(rows: Any, shape: Any, bounds: Any) -> None:
    pairs = [None if row is None else [row[:2], row[2:]] for row in rows]
    for stored, array in (
        (rows, pa.array(rows, pa.list_(pa.float32(), 4))),
        (pairs, pa.array(pairs, pa.list_(pa.list_(pa.float32(), 2), 2))),
    ):
        kept = stored[bounds[0] : max(bounds)]
        conversion = columns_to_arrays(batch_of(sliced(array, *bounds)), [feed("float32", shape)])
        check_rows(conversion, kept, shape)


@MODERATE
@given(
    rows=st.lists(st.one_of(st.none(), st.lists(VALUES, min_size=6, max_size=6)), max_size=8),
    bounds=st.tuples(st.integers(0, 3), st.integers(0, 8)),
    permutation=st.sampled_from([None, [0, 1], [1, 0]]),
)
def test_tensor_columns(rows: Any, bounds: Any, permutation: Any) -> None:
    kind = pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=permutation)
    storage = pa.array(rows, pa.list_(pa.float32(), 6))
    array = sliced(pa.ExtensionArray.from_storage(kind, storage), *bounds)
    axes = permutation or [0, 1]
    shape = tuple(kind.shape[axis] for axis in axes)
    expected = [
        None if row is None else np.array(row, object).reshape(2, 3).transpose(axes).tolist()
        for row in rows[bounds[0] : max(bounds)]
    ]
    conversion = columns_to_arrays(batch_of(array), [feed("float32", shape)])
    check_rows(conversion, expected, shape)


@MODERATE
@given(
    rows=FLAT_ROWS,
    cuts=st.lists(st.integers(0, 8), max_size=3).map(sorted),
    shape=st.sampled_from([(4,), (None,)]),
)
def test_tables_of_any_chunks(rows: Any, cuts: list[int], shape: Any) -> None:
    bounds = [0, *cuts, len(rows)]
    kind = pa.list_(pa.float32())
    chunks = [pa.array(rows[a:b], kind) for a, b in itertools.pairwise(bounds)]
    kept = [row for a, b in itertools.pairwise(bounds) for row in rows[a:b]]
    table = pa.table({"x": pa.chunked_array(chunks, kind)})
    check_rows(columns_to_arrays(table, [feed("float32", shape)]), kept, shape)


@MODERATE
@given(rows=FLAT_ROWS, scalars=st.lists(VALUES, min_size=8, max_size=8))
def test_several_columns_share_their_groups_and_errors(rows: Any, scalars: Any) -> None:
    batch = pa.record_batch(
        {
            "x": pa.array(rows, pa.list_(pa.float32())),
            "y": pa.array(scalars[: len(rows)], pa.float32()),
        }
    )
    conversion = columns_to_arrays(batch, [feed("float32", (None,)), feed("float32", (1,), "y")])
    placed: dict[int, Any] = {error.row: error.error for error in conversion.errors}
    for group in conversion.groups:
        numbers = range(len(rows)) if group.rows is None else group.rows.tolist()
        for position, row in enumerate(numbers):
            assert row not in placed
            placed[row] = (
                group.arrays["x"][position].tolist(),
                group.arrays["y"][position].tolist(),
            )
    expected = {
        row: "NullValueError" if has_null(x) or y is None else (x, [y])
        for row, (x, y) in enumerate(zip(rows, scalars, strict=False))
    }
    assert placed == expected


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int16(), pa.string()),
]


@MODERATE
@given(
    rows=st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=8),
    kind=st.sampled_from(TEXT_TYPES),
    bounds=st.tuples(st.integers(0, 3), st.integers(0, 8)),
)
def test_text(rows: Any, kind: pa.DataType, bounds: Any) -> None:
    in_bytes = [None if row is None else row.encode() for row in rows]
    is_bytes = kind in (pa.binary(), pa.large_binary(), pa.binary_view())
    array = sliced(pa.array(in_bytes if is_bytes else rows, kind), *bounds)
    kept = in_bytes[bounds[0] : max(bounds)]
    for received, row in zip(
        rows_of(columns_to_arrays(batch_of(array), [feed("string", ())]), len(kept)),
        kept,
        strict=True,
    ):
        assert received == row if row is not None else received.error == "NullValueError"


def test_text_keeps_trailing_zero_bytes_and_fills_lists() -> None:
    array = pa.array([[b"a\0", b""], [b"\0", b"b"]], pa.list_(pa.binary()))
    conversion = columns_to_arrays(batch_of(array), [feed("string", (2,))])
    values = conversion.groups[0].arrays["x"]
    assert values.dtype == object
    assert values.tolist() == [[b"a\0", b""], [b"\0", b"b"]]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1.5, 2.5, 2.5, 3.5]).dictionary_encode(),
        pc.run_end_encode(pa.array([1.5, 2.5, 2.5, 3.5])),
        pa.array([1.5, 2.5, 2.5, 3.5], pa.float16()),
        pa.array([1.5, 2.5, 2.5, 3.5], pa.float64()),
    ],
    ids=["dictionary", "runs", "float16", "float64"],
)
def test_encoded_and_wider_columns(array: pa.Array) -> None:
    for bounds in ((0, 4), (1, 3)):
        conversion = columns_to_arrays(batch_of(sliced(array, *bounds)), [feed("float32", ())])
        values = conversion.groups[0].arrays["x"]
        assert values.dtype == np.float32
        assert values.tolist() == [1.5, 2.5, 2.5, 3.5][slice(*bounds)]


def test_booleans_and_bfloat16() -> None:
    booleans = pa.array([True, False, True]).slice(1)
    values = columns_to_arrays(batch_of(booleans), [feed("float32", (1,))]).groups[0].arrays["x"]
    assert values.tolist() == [[0.0], [1.0]]
    floats = batch_of(pa.array([1.0, 2.5], pa.float32()))
    values = columns_to_arrays(floats, [feed("bfloat16", ())]).groups[0].arrays["x"]
    assert values.dtype == ml_dtypes.bfloat16
    assert values.astype(np.float32).tolist() == [1.0, 2.5]


def test_only_rows_that_are_not_exact_fail() -> None:
    array = pa.array([[1, 2], [2**24 + 1, 0], [3, 4]])
    conversion = columns_to_arrays(batch_of(array), [feed("float32", (2,))])
    (error,) = conversion.errors
    assert (error.row, error.error) == (1, "CastError")
    assert error.message == (
        "expected column 'x' as float32[?,2]. Received: 16777217 (int64), which it cannot hold."
    )
    assert conversion.groups[0].rows is not None
    assert conversion.groups[0].rows.tolist() == [0, 2]
    assert conversion.groups[0].arrays["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_what_lies_under_a_null_is_never_judged() -> None:
    values = pa.array([1, 2**60 + 1, 3, 4])
    array = pa.FixedSizeListArray.from_arrays(values, 2, mask=pa.array([True, False]))
    conversion = columns_to_arrays(batch_of(array), [feed("float32", (2,))])
    assert [(error.row, error.error) for error in conversion.errors] == [(0, "NullValueError")]
    assert conversion.groups[0].arrays["x"].tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (pa.array(np.arange(12, dtype=np.float32)), ()),
        (pa.array(np.arange(12, dtype=np.float32)), (1,)),
        (pa.FixedSizeListArray.from_arrays(pa.array(np.arange(48, dtype=np.float32)), 4), (2, 2)),
        (pa.array([[1.0, 2.0]] * 12, pa.list_(pa.float32())), (2,)),
        (pa.array([[[1.0], [2.0]]] * 12, pa.large_list(pa.list_(pa.float32()))), (2, 1)),
    ],
    ids=["scalar", "scalar to [N,1]", "fixed-size list", "list", "nested"],
)
@pytest.mark.parametrize("bounds", [(0, 12), (5, 9)])
def test_numbers_are_not_copied(array: pa.Array, shape: Any, bounds: tuple[int, int]) -> None:
    leaf = array
    while not pa.types.is_floating(leaf.type):
        leaf = leaf.values
    memory = leaf.to_numpy()
    part = sliced(array, *bounds)
    values = columns_to_arrays(batch_of(part), [feed("float32", shape)]).groups[0].arrays["x"]
    assert np.shares_memory(values, memory)
    assert not values.flags.writeable
    assert values.tolist() == np.array(part.to_pylist()).reshape(values.shape).tolist()


def test_images_of_several_sizes_are_grouped_by_shape() -> None:
    rng = np.random.default_rng(0)
    shapes = [(4, 5, 3), (2, 2, 3), (4, 5, 3), None, (4, 5, 1)]
    images = [None if s is None else rng.integers(0, 256, s, np.uint8) for s in shapes]
    batch = batch_of(images_to_column(images))
    conversion = columns_to_arrays(batch, [feed("uint8", (None, None, 3))])
    assert [group.arrays["x"].shape for group in conversion.groups] == [(2, 4, 5, 3), (1, 2, 2, 3)]
    rows = rows_of(conversion, 5)
    for row in (0, 1, 2):
        np.testing.assert_array_equal(rows[row], images[row])
    assert [rows[3].error, rows[4].error] == ["NullValueError", "ShapeError"]
    sliced_rows = rows_of(columns_to_arrays(batch.slice(1, 2), [feed("uint8", None)]), 2)
    np.testing.assert_array_equal(sliced_rows[0], images[1])
    np.testing.assert_array_equal(sliced_rows[1], images[2])


def test_image_structs_that_lie_about_their_shape_fail_alone() -> None:
    kind = pa.struct({"data": pa.list_(pa.uint8()), "shape": pa.list_(pa.int32())})
    rows = [
        {"data": [1, 2, 3, 4], "shape": [2, 2, 1]},
        {"data": [1, 2, 3], "shape": [2, 2, 1]},
        {"data": None, "shape": [2, 2, 1]},
        {"data": [1, 2, 3, 4], "shape": [2, None, 1]},
        {"data": [1, None, 3, 4], "shape": [2, 2, 1]},
        {"data": [1, 2, 3, 4], "shape": [-2, -2, 1]},
    ]
    conversion = columns_to_arrays(batch_of(pa.array(rows, kind)), [feed("float32", (2, 2, 1))])
    assert conversion.groups[0].arrays["x"].tolist() == [[[[1.0], [2.0]], [[3.0], [4.0]]]]
    assert [(error.row, error.error) for error in conversion.errors] == [
        (1, "ShapeError"),
        (2, "NullValueError"),
        (3, "NullValueError"),
        (4, "NullValueError"),
        (5, "ShapeError"),
    ]


def test_a_column_without_a_field_keeps_its_dtype_and_shape() -> None:
    batch = pa.record_batch({"x": pa.array([[1, 2], [3]], pa.list_(pa.int16()))})
    conversion = columns_to_arrays(batch, [Feed("x", "x", None)])
    assert [group.arrays["x"].tolist() for group in conversion.groups] == [[[1, 2]], [[3]]]
    assert conversion.groups[0].arrays["x"].dtype == np.int16


def test_no_rows_give_no_groups() -> None:
    for array in (pa.array([], pa.float32()), pa.array([[1.0]]).slice(1)):
        assert columns_to_arrays(batch_of(array), [feed("float32", (1,))]) == Conversion([], [])


def test_rows_that_are_all_bad_give_no_groups() -> None:
    conversion = columns_to_arrays(batch_of(pa.nulls(3)), [feed("float32", ())])
    assert conversion.groups == []
    assert [error.row for error in conversion.errors] == [0, 1, 2]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, 2], pa.timestamp("us")),
        pa.array([1, 2], pa.decimal128(5)),
        pa.array([{"a": 1}]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
    ],
    ids=["timestamp", "decimal", "struct", "map"],
)
def test_values_that_no_tensor_holds(array: pa.Array) -> None:
    batch = batch_of(array)
    with pytest.raises(FeatureError, match="Received: "):
        match_columns(batch.schema, [TensorField("x", "float32", ())])
    with pytest.raises(FeatureError, match="Received: "):
        columns_to_arrays(batch, [Feed("x", "x", None)])


def test_a_batch_without_the_column() -> None:
    with pytest.raises(FeatureError, match=r"expected column 'x' in every batch\. Received: y"):
        columns_to_arrays(batch_of(pa.array([1]), "y"), [feed("float32", ())])


def test_agrees_with_the_tensor_adapter_of_tfx_bsl() -> None:
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.tfxio.tensor_adapter import TensorAdapter, TensorAdapterConfig

    batch = pa.record_batch(
        {
            "f": pa.array([[1.5, 2.5, 3.5, 4.5], [5, 6, 7, 8]], pa.large_list(pa.float32())),
            "i": pa.array([[1], [2**40]], pa.large_list(pa.int64())),
            "s": pa.array([[b"a", b"\0"], [b"", b"c"]], pa.large_list(pa.large_binary())),
        }
    )
    shapes = {"f": (2, 2), "i": (1,), "s": (2,)}
    representations = {}
    for name, shape in shapes.items():
        dense = schema_pb2.TensorRepresentation()
        dense.dense_tensor.column_name = name
        for size in shape:
            dense.dense_tensor.shape.dim.add(size=size)
        representations[name] = dense
    adapter = TensorAdapter(TensorAdapterConfig(batch.schema, representations))
    expected = adapter.ToBatchTensors(batch, produce_eager_tensors=False)
    dtypes = {"f": "float32", "i": "int64", "s": "string"}
    feeds = [feed(dtypes[name], shape, name) for name, shape in shapes.items()]
    (group,) = columns_to_arrays(batch, feeds).groups
    for name in shapes:
        assert group.arrays[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(group.arrays[name], expected[name])


def test_converting_loads_neither_tensorflow_nor_beam_nor_tfx_bsl() -> None:
    modules = "features, rows, outputs, examples, example_encoding, images"
    heavy = "{'tensorflow', 'apache_beam', 'tfx_bsl', 'cv2', 'PIL'}"
    code = (
        f"import sys; from transforms import {modules}; print(sorted({heavy} & set(sys.modules)))"
    )
    assert python("-c", code).stdout == "[]\n"
