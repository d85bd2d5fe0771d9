"""Resizing on the device against ``tf.image.resize`` of one image at a time."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.resize import ResizeImages, extents_of, pad_image, resize_padded

pytestmark = pytest.mark.usefixtures("logical_cpus")


def image_of(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, height, width])
    return rng.integers(0, 256, (height, width, channels)).astype(np.uint8)


@settings(max_examples=30)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=5),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_each_part_is_resized_by_itself(
    sizes: list[tuple[int, int]], target: tuple[int, int]
) -> None:
    images = [image_of(*size) for size in sizes]
    canvas = np.full((len(images), 96, 96, 3), 255, np.uint8)
    for place, image in zip(canvas, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    resized = resize_padded(canvas, extents_of(images), target).numpy()
    for actual, image in zip(resized, images, strict=True):
        expected = tf.cast(tf.image.resize(image, target), tf.float32).numpy()
        np.testing.assert_allclose(actual, expected, atol=1e-3)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("uint8", 1)])
def test_as_preprocessing(padded: bool, dtype: str, tolerance: float) -> None:
    images = [image_of(20, 31, 1, seed) for seed in range(4)]
    resize = ResizeImages(8, 9, column="photo", dtype=dtype, padded=padded)
    columns = {"photo": np.stack([pad_image(image) if padded else image for image in images])}
    if padded:
        columns["photo_extent"] = extents_of(images)
    assert list(inspect.signature(resize).parameters) == list(columns)
    resized = tf.function(resize)(**{name: tf.constant(v) for name, v in columns.items()})
    assert resized.dtype == dtype
    assert resized.shape == (4, 8, 9, 1)
    expected = tf.image.resize(np.stack(images), (8, 9)).numpy()
    np.testing.assert_allclose(resized.numpy().astype(np.float32), expected, atol=tolerance)


def test_the_right_size_stays_as_it_is() -> None:
    image = image_of(8, 8)[np.newaxis]
    np.testing.assert_array_equal(ResizeImages(8, 8)(image=tf.constant(image)), image)


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_canvases_are_few_and_not_much_larger(height: int, width: int) -> None:
    padded = pad_image(np.ones((height, width, 1), np.uint8))
    assert padded.sum() == height * width
    for side, given_side in zip(padded.shape[:2], (height, width), strict=True):
        assert side == given_side or side < 1.5 * given_side
        assert bin(side).count("1") <= 2


def test_a_size_without_pixels() -> None:
    with pytest.raises(ValueError, match=r"expected a size of 1,1 or more\. Received: 0,5"):
        ResizeImages(0, 5)
