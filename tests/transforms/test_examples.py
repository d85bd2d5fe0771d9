"""tf.Example records to batches and back, against protobuf messages built one by one."""

from __future__ import annotations

import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.conversion import FeatureError
from transforms.engine.signature import TensorField
from transforms.example_encoding import check_encodable, encode_examples
from transforms.examples import (
    ExampleDecoder,
    ExampleError,
    ExampleFeature,
    example_schema,
    infer_features,
    relax_lengths,
)
from transforms.features import columns_to_arrays
from transforms.matching import match_columns

MODERATE = settings(max_examples=80)
FEATURES = {
    "label": ExampleFeature("int", 1),
    "name": ExampleFeature("bytes", 1),
    "weights": ExampleFeature("float", 3),
    "words": ExampleFeature("bytes"),
}


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field; written here so that tests need no TensorFlow."""
    size, prefix = len(payload), b""
    while size > 127:
        prefix += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + prefix + bytes([size]) + payload


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def example(**features: Any) -> bytes:
    """A serialized tf.Example; floats, ints or bytes by the first value, `()` without a kind."""
    entries = b""
    for name, values in features.items():
        if values == ():
            feature = b""
        elif all(isinstance(value, bytes) for value in values):
            feature = field(1, b"".join(field(1, value) for value in values))
        elif all(isinstance(value, float) for value in values):
            feature = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            feature = field(3, field(1, b"".join(map(varint, values))))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def sound(row: int) -> bytes:
    return example(label=[row], name=[b"n%d" % row], weights=[float(row)] * 3, words=[b"w"] * row)


BAD = [
    b"no example",
    sound(3)[:-2],
    example(label=[1.5], name=[b"a"], weights=[1.0] * 3),
    example(label=[1, 2], name=[b"a"], weights=[1.0] * 3),
    field(1, field(1, field(1, b"\xff\xfe") + field(2, b""))),
    None,
]


@MODERATE
@given(pieces=st.lists(st.one_of(st.integers(0, 9), st.sampled_from(BAD)), max_size=20))
def test_exactly_the_bad_records_fail(pieces: list[Any]) -> None:
    records = [sound(piece) if isinstance(piece, int) else piece for piece in pieces]
    good = [piece for piece in pieces if isinstance(piece, int)]
    batch, errors = ExampleDecoder(FEATURES).decode(records)
    batch.validate(full=True)
    assert batch.schema.equals(example_schema(FEATURES), check_metadata=True)
    assert batch.column("label").to_pylist() == good
    assert batch.column("name").to_pylist() == [b"n%d" % row for row in good]
    assert batch.column("weights").to_pylist() == [[float(row)] * 3 for row in good]
    assert batch.column("words").to_pylist() == [[b"w"] * row for row in good]
    expected = [row for row, piece in enumerate(pieces) if not isinstance(piece, int)]
    assert [error.row for error in errors] == expected
    assert {error.error for error in errors} <= {"ExampleError"}


def test_the_error_says_what_was_wrong() -> None:
    _, errors = ExampleDecoder(FEATURES).decode([b"no example", example(label=[1, 2])])
    assert errors[0].message.startswith("expected a tf.Example of the planned features. Received: ")
    assert errors[1].message == (
        "expected one value of feature 'label', as in the records seen first. Received: 2 values."
    )


def test_missing_features_are_null_and_unknown_ones_are_skipped() -> None:
    records = [example(other=[1]), example(label=(), name=[], words=[]), sound(2)]
    batch, errors = ExampleDecoder(FEATURES).decode(records)
    assert errors == []
    assert batch.to_pydict() == {
        "label": [None, None, 2],
        "name": [None, None, b"n2"],
        "weights": [None, None, [2.0] * 3],
        "words": [None, [], [b"w", b"w"]],
    }


def test_no_records_and_no_features() -> None:
    decoder = ExampleDecoder(FEATURES)
    for records in ([], [b"no example"]):
        batch, _ = decoder.decode(records)
        assert batch.num_rows == 0
        assert batch.schema.equals(decoder.schema)
    batch, errors = ExampleDecoder({}).decode([sound(1), b"no example", sound(2)])
    assert (batch.num_rows, batch.num_columns, len(errors)) == (2, 0, 1)


def test_features_are_inferred() -> None:
    records = [
        example(a=[1], b=[1.0, 2.0], c=[b"x"], d=[b"y"], e=[1], f=()),
        example(a=[2], b=[3.0, 4.0], c=[b"x", b"z"], d=[], e=[1.0]),
        b"no example",
        example(a=[3], b=[5.0, 6.0], d=[b"y"], e=[1.0]),
    ]
    assert infer_features(records) == {
        "a": ExampleFeature("int", 1),
        "b": ExampleFeature("float", 2),
        "c": ExampleFeature("bytes"),
        "d": ExampleFeature("bytes", 1),
        "e": ExampleFeature("float", 1),
    }
    assert infer_features([]) == {}


def test_lengths_seen_so_far_do_not_bind_what_a_model_leaves_free() -> None:
    features = infer_features([example(tokens=[7], label=[1])] * 3)
    free = TensorField("tokens", "int64", (None,))
    assert match_columns(example_schema(features), [free])[0].column == "tokens"
    relaxed = relax_lengths(features, {"tokens": free})
    assert relaxed["label"].length == 1
    batch, errors = ExampleDecoder(relaxed).decode([example(tokens=[1, 2, 3], label=[1])])
    assert (batch.column("tokens").to_pylist(), errors) == ([[1, 2, 3]], [])


def test_a_length_that_cannot_fit_is_known_before_the_job_runs() -> None:
    schema = example_schema(infer_features([sound(1)]))
    with pytest.raises(FeatureError, match=r"Received: list<float>\[3\]"):
        match_columns(schema, [TensorField("weights", "float32", (4,))])


def test_decoded_numbers_reach_the_model_without_a_copy() -> None:
    batch, _ = ExampleDecoder(FEATURES).decode([sound(row) for row in range(8)])
    inputs = [TensorField("weights", "float32", (3,)), TensorField("label", "int64", (1,))]
    (group,) = columns_to_arrays(batch, match_columns(batch.schema, inputs)).groups
    assert np.shares_memory(group.arrays["weights"], batch.column("weights").values.to_numpy())
    assert np.shares_memory(group.arrays["label"], batch.column("label").to_numpy())
    assert group.arrays["weights"].tolist() == [[float(row)] * 3 for row in range(8)]


def test_a_decoder_can_be_pickled_and_shared_by_threads() -> None:
    decoder = pickle.loads(pickle.dumps(ExampleDecoder(FEATURES)))
    batches = [[sound(row), b"bad", sound(row + 1)] for row in range(40)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(decoder.decode, batches))
    for row, (batch, errors) in enumerate(results):
        assert batch.column("label").to_pylist() == [row, row + 1]
        assert [error.row for error in errors] == [1]


def decoded(batch: pa.RecordBatch, **kinds: str) -> dict[str, list[Any]]:
    """What tfx-bsl reads from the encoded batch; every feature as lists."""
    features = {name: ExampleFeature(kind) for name, kind in kinds.items()}
    read, errors = ExampleDecoder(features).decode(encode_examples(batch))
    assert errors == []
    return read.to_pydict()


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array([True, None, False]), "int", [[1], None, [0]]),
        (pa.array([1, None, 255], pa.uint8()), "int", [[1], None, [255]]),
        (pa.array([1.5, None, 2.5], pa.float16()), "float", [[1.5], None, [2.5]]),
        (pa.array([0.1, None], pa.float64()), "float", [[float(np.float32(0.1))], None]),
        (pa.array(["a\0", None, "ä"]), "bytes", [[b"a\0"], None, ["ä".encode()]]),
        (pa.array(["a", None], pa.string_view()), "bytes", [[b"a"], None]),
        (pa.array([b"abc", None], pa.binary(3)), "bytes", [[b"abc"], None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), "bytes", [[b"a"], None, [b"a"]]),
        (pc.run_end_encode(pa.array([1, 1, None])), "int", [[1], [1], None]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)), "int", [[1, 2], None, [3, 4]]),
        (pa.array([[1], None, []], pa.list_view(pa.int8())), "int", [[1], None, []]),
        (pa.array([[["a"], []], None, [["b", "c"]]]), "bytes", [[b"a"], None, [b"b", b"c"]]),
        (
            pa.array([[[1.0, 2.0]], [[3.0, 4.0]]], pa.large_list(pa.list_(pa.float64(), 2))),
            "float",
            [[1.0, 2.0], [3.0, 4.0]],
        ),
        (pa.nulls(2), "float", [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_columns_are_encoded(array: pa.Array, kind: str, expected: list[Any]) -> None:
    assert decoded(pa.record_batch({"x": array}), x=kind) == {"x": expected}
    part = pa.record_batch({"x": array}).slice(1)
    assert decoded(part, x=kind) == {"x": expected[1:]}


@MODERATE
@given(
    rows=st.lists(
        st.one_of(st.none(), st.lists(st.lists(st.integers(-9, 9), max_size=3), max_size=3)),
        max_size=8,
    ),
    bounds=st.tuples(st.integers(0, 3), st.integers(0, 8)),
)
def test_nested_lists_are_written_flat(rows: Any, bounds: tuple[int, int]) -> None:
    array = pa.array(rows, pa.list_(pa.list_(pa.int16())))
    batch = pa.record_batch({"x": array}).slice(bounds[0], max(0, bounds[1] - bounds[0]))
    expected = [
        None if row is None else [value for inner in row for value in inner]
        for row in rows[bounds[0] : max(bounds)]
    ]
    assert decoded(batch, x="int") == {"x": expected}


def test_tensorflow_reads_what_is_encoded(logical_cpus: int) -> None:
    import tensorflow as tf

    batch = pa.record_batch(
        {
            "scores": pa.array([[0.5, 1.5], [2.5, 3.5]], pa.list_(pa.float32(), 2)),
            "_row": pa.array([7, 2**40]),
            "_source": pa.array(["a", "b"]),
        }
    )
    parsed = tf.io.parse_example(
        encode_examples(batch),
        {
            "scores": tf.io.FixedLenFeature([2], tf.float32),
            "_row": tf.io.FixedLenFeature([], tf.int64),
            "_source": tf.io.FixedLenFeature([], tf.string),
        },
    )
    assert parsed["scores"].numpy().tolist() == [[0.5, 1.5], [2.5, 3.5]]
    assert parsed["_row"].numpy().tolist() == [7, 2**40]
    assert parsed["_source"].numpy().tolist() == [b"a", b"b"]


def test_a_missing_value_is_missing_to_tensorflow_too(logical_cpus: int) -> None:
    import tensorflow as tf

    records = encode_examples(pa.record_batch({"x": pa.array([1.0, None])}))
    parsed = tf.io.parse_example(
        records, {"x": tf.io.FixedLenFeature([], tf.float32, default_value=-1.0)}
    )
    assert parsed["x"].numpy().tolist() == [1.0, -1.0]


def test_rows_without_columns_and_columns_without_rows() -> None:
    assert encode_examples(pa.record_batch({"x": pa.array([], pa.int64())})) == []
    empty = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert encode_examples(empty) == [b""] * 3


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("s"), pa.decimal128(5), pa.struct({"a": pa.int8()}), pa.list_(pa.date32())],
    ids=str,
)
def test_types_that_no_feature_holds(kind: pa.DataType) -> None:
    with pytest.raises(ExampleError, match=r"expected column 'x' .* Received: .* Pass --keep"):
        check_encodable(pa.schema({"x": kind}))


def test_values_that_no_feature_holds() -> None:
    inner = pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2))
    with pytest.raises(ExampleError, match="a list with a null.*row 2 of a batch"):
        encode_examples(pa.record_batch({"x": inner}))
    with pytest.raises(ExampleError, match="expected column 'x' within int64"):
        encode_examples(pa.record_batch({"x": pa.array([2**63], pa.uint64())}))
