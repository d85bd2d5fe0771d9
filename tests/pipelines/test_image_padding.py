from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.image_padding import sizes_differ, with_padding
from pipelines.read_stage import with_free_shape, without_images
from pipelines.splits import InputFile
from tests.pipelines.inputs import write_png
from transforms.block import Block
from transforms.columns import column_parts
from transforms.failures import Failure
from transforms.images import images_to_column


def images_of(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def batch_of(images: list[np.ndarray]) -> pa.RecordBatch:
    return pa.record_batch([images_to_column(images)], ["image"])


def test_images_of_many_sizes_come_in_few_shapes_with_their_extents():
    images = images_of((30, 40), (31, 33), (32, 48), (20, 40))
    batch = with_padding(batch_of(images), "image")
    assert batch.column("image_extent").to_pylist() == [[30, 40], [31, 33], [32, 48], [20, 40]]
    parts = column_parts(batch.column("image")).parts
    rows_of = {part.values.shape[1:]: list(part.rows) for part in parts}
    assert rows_of == {(32, 48, 3): [0, 1, 2], (24, 48, 3): [3]}
    for part in parts:
        for row, padded in zip(part.rows, part.values, strict=True):
            height, width, _ = images[row].shape
            np.testing.assert_array_equal(padded[:height, :width], images[row])
            assert padded.sum() == images[row].sum()


def test_images_of_one_size_stay_as_they_are():
    batch = batch_of(images_of((30, 40), (30, 40)))
    padded = with_padding(batch, "image")
    assert padded.column("image").equals(batch.column("image"))
    assert padded.column("image_extent").to_pylist() == [[30, 40], [30, 40]]


def test_no_image_at_all():
    batch = batch_of(images_of((2, 2))).slice(0, 0)
    padded = with_padding(batch, "image")
    assert padded.num_rows == 0
    assert padded.schema.names == ["image", "image_extent"]


@pytest.mark.parametrize(("sizes", "differ"), [
    ([(8, 8), (8, 8)], False),
    ([(8, 8), (8, 9)], True),
    ([], False),
])  # fmt: skip
def test_sizes_are_read_from_headers(tmp_path: Path, sizes, differ: bool):
    files = []
    for index, image in enumerate(images_of(*sizes)):
        path = write_png(tmp_path / f"{index}.png", image)
        files.append(InputFile(str(path), path.stat().st_size))
    assert sizes_differ(files) is differ


def test_formats_whose_header_is_not_known_may_differ(tmp_path: Path):
    path = write_png(tmp_path / "0.bmp", images_of((8, 8))[0])
    assert sizes_differ([InputFile(str(path), 1)])


@pytest.mark.parametrize("sizes", [[(2, 3), (2, 3)], [(2, 3), (4, 1)]])
def test_kept_images_have_one_type(sizes):
    images = images_of(*sizes)
    field = pa.field("image", images_to_column([None]).type)
    free = with_free_shape(batch_of(images), field)
    assert free.schema.field("image") == field
    assert free.column("image").to_pylist() == [
        {"data": image.reshape(-1).tolist(), "shape": list(image.shape)} for image in images
    ]


def test_failed_rows_have_no_copy_of_a_decoded_image():
    failures = (
        Failure("a.png", 0, "infer", "InternalError", "m", {"image": [1, 2, 3]}),
        Failure("b.png", 0, "decode", "ImageError", "m", b"no image"),
    )
    block = without_images(Block(batch_of(images_of((2, 2))), failures), "image")
    assert [failure.data for failure in block.failures] == [{}, b"no image"]
