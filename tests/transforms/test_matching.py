"""Which column feeds which input, and what is said where none can."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from transforms.column_types import OBSERVED_LENGTH
from transforms.conversion import FeatureError
from transforms.engine.signature import TensorField
from transforms.images import images_to_column
from transforms.matching import Feed, feed_columns, keep_bytes_narrow, match_columns, natural_field

IMAGE = TensorField("image", "uint8", (224, 224, 3))
SCALAR = TensorField("x", "float32", ())


def refused(schema: pa.Schema, *inputs: TensorField, **input_map: str) -> str:
    with pytest.raises(FeatureError) as raised:
        match_columns(schema, inputs, input_map)
    return str(raised.value)


def test_inputs_are_matched_by_name() -> None:
    schema = pa.schema({"b": pa.int64(), "a": pa.float32(), "c": pa.string()})
    inputs = (TensorField("a", "float32", ()), TensorField("b", "int32", (1,)))
    assert match_columns(schema, inputs) == (Feed("a", "a", inputs[0]), Feed("b", "b", inputs[1]))


def test_the_map_says_which_column_an_input_takes() -> None:
    schema = pa.schema({"b": pa.float32(), "a": pa.float32()})
    inputs = (TensorField("a", "float32", ()), TensorField("b", "float32", ()))
    feeds = match_columns(schema, inputs, {"a": "b"})
    assert feeds == (Feed("b", "a", inputs[0]), Feed("b", "b", inputs[1]))


def test_a_single_input_takes_the_only_column_that_fits() -> None:
    schema = pa.schema({"id": pa.string(), "pixels": pa.list_(pa.float32(), 4), "n": pa.int64()})
    field = TensorField("input_1", "float32", (2, 2))
    assert match_columns(schema, [field]) == (Feed("pixels", "input_1", field),)


def test_of_several_that_fit_a_single_input_takes_none() -> None:
    schema = pa.schema({"u": pa.float32(), "v": pa.int8()})
    assert refused(schema, SCALAR) == (
        "expected column 'x' as float32[?], or one other column that fits. "
        "Received: 2 that fit: u: float, v: int8. Pass --input_map x=COLUMN."
    )


def test_a_column_of_the_right_name_is_never_passed_over() -> None:
    schema = pa.schema({"x": pa.string(), "y": pa.float32()})
    assert refused(schema, SCALAR).startswith(
        "expected column 'x' as float32[?]. Received: string (string is not cast to float32). "
    )


def test_several_inputs_are_not_guessed() -> None:
    message = refused(pa.schema({"u": pa.float32()}), SCALAR, TensorField("y", "int32", ()))
    assert message == (
        "expected column 'x' as float32[?]. Received: u: float. Pass --input_map x=COLUMN."
    )


def test_what_mirrorbeam_writes_is_never_fed() -> None:
    names = ["_source", "_row", "_stage", "_error", "_message"]
    schema = pa.schema([("_row", pa.int64()), *((name, pa.int64()) for name in names[2:])])
    assert "Received: no columns." in refused(schema, SCALAR)
    assert "Received: no columns." in refused(schema, SCALAR, x="_row")
    fed = match_columns(schema.append(pa.field("n", pa.int64())), [SCALAR])
    assert fed == (Feed("n", "x", SCALAR),)


def test_the_message_says_expected_received_and_what_to_do() -> None:
    schema = pa.schema({"image": pa.list_(pa.float32(), 150528)})
    assert refused(schema, IMAGE) == (
        "expected column 'image' as uint8[?,224,224,3]. Received: list<float>[150528] "
        "(float32 is not cast to uint8: it would drop fractions). Pass --input_map image=COLUMN "
        "to feed another, or store it in the expected dtype and shape."
    )


@pytest.mark.parametrize(
    ("kind", "received"),
    [
        (pa.list_(pa.uint8(), 150527), "list<uint8>[150527]"),
        (pa.list_(pa.list_(pa.list_(pa.uint8(), 224), 224), 3), "list<uint8>[3,224,224]"),
        (pa.fixed_shape_tensor(pa.uint8(), [3, 224, 224]), "list<uint8>[3,224,224]"),
        (pa.list_(pa.list_(pa.uint8(), 5)), "list<uint8>[?,5]"),
        (pa.list_(pa.string()), "list<string>[?]"),
        (pa.uint8(), "uint8"),
        (pa.null(), "null, which no tensor holds"),
        (pa.timestamp("us"), "timestamp[us], which no tensor holds"),
        (pa.struct({"a": pa.uint8()}), "struct<a: uint8>, which no tensor holds"),
    ],
)
def test_types_that_cannot_fit(kind: pa.DataType, received: str) -> None:
    message = refused(pa.schema({"image": kind}), IMAGE)
    assert f"Received: {received}" in message


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.uint8()),
        pa.large_list(pa.list_view(pa.list_(pa.uint8(), 3))),
        pa.list_(pa.uint8(), 150528),
        pa.fixed_shape_tensor(pa.uint8(), [224, 224, 3]),
        pa.fixed_shape_tensor(pa.uint8(), [3, 224, 224], permutation=[1, 2, 0]),
        pa.list_(pa.list_(pa.int64(), 672)),
        pa.dictionary(pa.int8(), pa.list_(pa.uint8())),
        images_to_column([]).type,
    ],
    ids=str,
)
def test_types_that_can_fit(kind: pa.DataType) -> None:
    assert match_columns(pa.schema({"image": kind}), [IMAGE])[0].column == "image"


def test_an_observed_length_is_checked_like_a_fixed_one() -> None:
    column = pa.field("image", pa.list_(pa.uint8()), metadata={OBSERVED_LENGTH: "12"})
    assert "Received: list<uint8>[12]" in refused(pa.schema([column]), IMAGE)


def test_free_dimensions_and_free_ranks() -> None:
    schema = pa.schema({"x": pa.list_(pa.list_(pa.float32()))})
    for shape in [(None, None), (None,), (None, 3), None]:
        assert match_columns(schema, [TensorField("x", "float32", shape)])
    assert "Received: list<float>[?,?]" in refused(
        schema, TensorField("x", "float32", (None, None, 3))
    )


def test_a_map_of_an_unknown_input() -> None:
    message = refused(pa.schema({"x": pa.float32()}), SCALAR, y="x")
    assert message == (
        "expected a map of the model's inputs x. Received: 'y'. Pass --input_map x=COLUMN."
    )


def test_a_map_to_an_unknown_column_lists_some_of_those_there_are() -> None:
    schema = pa.schema([(f"c{index}", pa.int8()) for index in range(25)])
    message = refused(schema, SCALAR, x="gone")
    assert re.search(r"expected column 'gone' .* c19: int8 and 5 more\.", message)


def test_columns_of_one_name_are_not_chosen_from() -> None:
    schema = pa.schema([("x", pa.float32()), ("x", pa.float32())])
    assert "Received: 2 columns of that name" in refused(schema, SCALAR)


def test_columns_of_a_preprocessing_function_keep_their_own_types() -> None:
    schema = pa.schema({"a": pa.int64(), "b": pa.list_(pa.string()), "t": pa.date32()})
    spec = TensorField("b", "string", (3,))
    assert feed_columns(schema, ["b", "a"], {"b": spec}) == (
        Feed("b", "b", spec),
        Feed("a", "a", None),
    )
    with pytest.raises(FeatureError, match=r"expected column 'c'\. Received: a: int64, b: "):
        feed_columns(schema, ["c"])
    with pytest.raises(FeatureError, match=r"expected column 't' .* Received: date32"):
        feed_columns(schema, ["t"])


def test_the_natural_field_of_a_column() -> None:
    nested = pa.field("x", pa.list_(pa.list_(pa.int16(), 3)))
    assert natural_field(nested) == TensorField("x", "int16", (None, 3))
    assert natural_field(pa.field("x", images_to_column([]).type)).shape is None
    with pytest.raises(FeatureError, match="Received: date32"):
        natural_field(pa.field("x", pa.date32()))


def test_bytes_stay_narrow_until_they_are_on_the_device() -> None:
    schema = pa.schema({"a": pa.list_(pa.uint8()), "b": pa.int16()})
    feeds = match_columns(
        schema, [TensorField("a", "float32", (4,)), TensorField("b", "float32", ())]
    )
    assert [feed.field.dtype for feed in keep_bytes_narrow(feeds, schema) if feed.field] == [
        "uint8",
        "float32",
    ]
