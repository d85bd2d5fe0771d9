from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.errors import CommandError
from pipelines.feeding import Feeding, choose_feeding, scored_schema
from pipelines.sources import source_class
from pipelines.user_code import FileFunction
from transforms.engine.signature import Signature, TensorField
from transforms.images import images_to_column
from transforms.resize import ResizeImages

RECORDS = Signature("s", (TensorField("examples", "string", ()),), (TensorField("y", "float32"),))
VECTOR = Signature("s", (TensorField("x", "float32", (2,)),), (TensorField("y", "float32", (3,)),))
FEATURES = pa.schema(
    [("id", pa.int64()), ("x", pa.large_list(pa.float32())), ("y", pa.float32())]
)  # fmt: skip
IMAGES = pa.schema([("image", images_to_column([None]).type)])


def choose(name: str, schema: pa.Schema, signature: Signature, **changes) -> Feeding:
    options = {"input_map": {}, "keep": None} | changes
    return choose_feeding(source_class(name)(), schema, signature, **options)


def image_signature(*shape: int | None, dtype: str = "float32") -> Signature:
    return Signature("s", (TensorField("pixels", dtype, shape),), ())


def test_by_default_all_that_is_not_fed_is_kept():
    feeding = choose("parquet", FEATURES, VECTOR)
    assert [feed.column for feed in feeding.feeds] == ["x"]
    assert feeding.kept == ("id", "y")
    assert feeding.source.wanted.raw is False


@pytest.mark.parametrize(("keep", "read", "kept"), [
    ((), {"x", "y"}, ()),
    (("id",), {"x", "id", "y"}, ("id",)),
    ("all", {"x", "id", "y"}, ("x", "id", "y")),
])  # fmt: skip
def test_only_what_is_needed_is_read_and_namesakes_of_outputs(keep, read, kept):
    feeding = choose("parquet", FEATURES, VECTOR, keep=keep)
    assert set(feeding.source.columns_schema().names) == read
    assert feeding.kept == kept


def test_one_string_input_gets_whole_records():
    feeding = choose("tfrecord", FEATURES, RECORDS)
    [feed] = feeding.feeds
    assert (feed.column, feed.name) == ("record", "examples")
    assert feeding.kept == ()
    assert feeding.source.wanted.raw
    assert "id" in choose("tfrecord", FEATURES, RECORDS, keep=("id",)).kept
    assert choose("tfrecord", FEATURES, RECORDS, keep="all").kept == ("id", "x", "y")


def test_whole_records_in_place_of_a_feature_of_that_name_are_told():
    schema = pa.schema([("examples", pa.large_binary())])
    [note] = choose("tfrecord", schema, RECORDS).notes
    assert "pass --input_map examples=examples" in note
    assert choose("tfrecord", FEATURES, RECORDS).notes == ()


def test_a_map_feeds_a_feature_in_place_of_the_record():
    schema = pa.schema([("word", pa.large_binary())])
    feeding = choose("tfrecord", schema, RECORDS, input_map={"examples": "word"})
    assert [feed.column for feed in feeding.feeds] == ["word"]
    assert not feeding.source.wanted.raw


def test_preprocessing_may_ask_for_records_and_features():
    function = FileFunction("f.py", "def f(record, id): return record", "f")
    feeding = choose("tfrecord", FEATURES, RECORDS, function=function)
    assert [feed.column for feed in feeding.feeds] == ["record", "id"]
    assert feeding.source.wanted.raw
    assert set(feeding.source.columns_schema().names) >= {"record", "id"}
    assert feeding.spec["record"].dtype == "string"


def test_lengths_seen_in_some_rows_are_not_promised():
    schema = pa.schema([
        pa.field("x", pa.large_list(pa.float32()), metadata={b"mirrorbeam.length": b"2"}),
    ])  # fmt: skip
    assert choose("parquet", schema, VECTOR).spec["x"].shape == (None,)


@pytest.mark.parametrize(("shape", "image_size", "size", "channels"), [
    ((8, 9, 3), None, (8, 9), 3),
    ((8, 9, 1), None, (8, 9), 1),
    ((8, 9, 4), (8, 9), (8, 9), 4),
    ((None, None, 3), (5, 6), (5, 6), 3),
    ((None, None, None), None, None, 3),
    ((None, None, 1), None, None, 1),
])  # fmt: skip
def test_images_are_resized_to_what_the_model_takes(shape, image_size, size, channels):
    signature = image_signature(*shape)
    feeding = choose("images", IMAGES, signature, image_size=image_size)
    assert feeding.source.wanted.channels == channels
    if size is None:
        assert feeding.preprocess is None
    else:
        expected = ResizeImages(*size, column="image").digest
        assert isinstance(feeding.preprocess, ResizeImages)
        assert feeding.preprocess.digest == expected
    assert feeding.spec["image"] == TensorField("image", "uint8", (None, None, channels))


def test_flat_columns_are_not_resized_without_being_asked():
    schema = pa.schema([("pixels", pa.list_(pa.uint8(), 192))])
    assert choose("parquet", schema, image_signature(8, 8, 3)).preprocess is None


@pytest.mark.parametrize(("signature", "changes", "expected"), [
    (image_signature(8, 8, 2), {}, "1, 3 or 4 channels"),
    (image_signature(8, 8, 3), {"image_size": (9, 9)}, "Received: 9,9"),
    (VECTOR, {"image_size": (9, 9)}, "one input of images"),
])  # fmt: skip
def test_images_that_no_resizing_makes_fit(signature, changes, expected):
    with pytest.raises(CommandError, match=expected):
        choose("images", IMAGES, signature, **changes)


def test_an_input_without_rows_has_the_models_columns():
    feeding = choose("tfrecord", pa.schema([]), VECTOR, keep=("id",))
    assert feeding.source.columns_schema().names == ["x"]
    assert feeding.kept == ()


def test_scored_columns_and_namesakes():
    feeding = choose("parquet", FEATURES, VECTOR)
    schema = scored_schema(feeding.source.block_schema(), feeding.kept, VECTOR.outputs or ())
    assert schema.names == ["id", "y", "_source", "_row", "y_predicted"]
    assert schema.field("y_predicted").type == pa.list_(pa.float32(), 3)


def test_a_source_knows_what_images_are_resized_to_unless_they_are_seen():
    signature = image_signature(8, 9, 3)
    assert choose("images", IMAGES, signature).source.wanted.image_size == (8, 9)
    assert choose("images", IMAGES, signature, keep="all").source.wanted.image_size is None
    free = image_signature(None, None, 3)
    assert choose("images", IMAGES, free).source.wanted.image_size is None
    assert choose("images", IMAGES, free, image_size=(5, 6)).source.wanted.image_size == (5, 6)


def test_images_of_many_sizes_are_padded_unless_they_are_kept():
    signature = image_signature(8, 8, 3)
    feeding = choose("images", IMAGES, signature, sizes_differ=True)
    assert feeding.padded == "image"
    assert feeding.spec["image_extent"] == TensorField("image_extent", "int32", (2,))
    assert choose("images", IMAGES, signature).padded is None
    assert choose("images", IMAGES, signature, sizes_differ=True, keep="all").padded is None
    free = image_signature(None, None, 3)
    assert choose("images", IMAGES, free, sizes_differ=True).padded is None
