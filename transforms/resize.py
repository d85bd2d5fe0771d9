"""Resizing images on the device, inside the step, whole batches at once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

EXTENT_SUFFIX = "_extent"


class ResizeImages:
    """A `preprocess` that brings images of any size to the model's.

    Bilinear, without antialiasing, as ``tf.image.resize`` does it by default. Pixels keep
    their scale: 0 to 255 stays 0 to 255. Images travel to the device as they are stored,
    as a rule in uint8, a quarter of the bytes of floats.

    Images of many sizes share batches where they come padded, as ``pad_image`` does it, with
    the part that holds pixels in a second column.

    Attributes:
      size: height and width that images are brought to.
      column: where they are.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        column: str = "image",
        dtype: str = "float32",
        padded: bool = False,
    ) -> None:
        """Chooses the size and where the images are.

        Args:
          height: rows of pixels that the model takes.
          width: columns of pixels.
          column: where the images are; the name of the function's parameter.
          dtype: what the model takes; integers are rounded.
          padded: whether a column `<column>_extent` `[n, 2]` has each image's height and width.
        """
        if height < 1 or width < 1:
            raise ValueError(f"expected a size of 1,1 or more. Received: {height},{width}.")
        self.size = (height, width)
        self._dtype = dtype
        self._padded = padded
        self.column = column
        self.digest = f"resize {column} to {height},{width} {dtype}"
        columns = [column, column + EXTENT_SUFFIX] if padded else [column]
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in columns]
        )

    def __call__(self, **columns: tf.Tensor) -> tf.Tensor:
        """Images `[n, height, width, channels]` of the model's dtype."""
        import tensorflow as tf

        images = columns[self.column]
        if self._padded:
            resized = resize_padded(images, columns[self.column + EXTENT_SUFFIX], self.size)
        else:
            resized = tf.image.resize(images, self.size)
        dtype = tf.as_dtype(self._dtype)
        if dtype.is_integer and not resized.dtype.is_integer:
            return tf.saturate_cast(tf.round(resized), dtype)
        return tf.cast(resized, dtype)


def resize_padded(images: tf.Tensor, extents: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes the upper left part of every image, each its own.

    Args:
      images: `[n, h, w, channels]`; what lies outside of an image's extent is not looked at.
      extents: `[n, 2]` int32, height and width of the part that holds pixels.
      size: height and width to bring it to.

    Returns:
      float32 `[n, height, width, channels]`, as ``tf.image.resize`` gives for each part.
    """
    import tensorflow as tf

    def neighbours(axis: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        extent = tf.cast(extents[:, axis], tf.float32)[:, tf.newaxis]
        centers = (tf.range(size[axis], dtype=tf.float32) + 0.5)[tf.newaxis]
        places = centers * (extent / size[axis]) - 0.5
        below = tf.floor(places)
        last = tf.cast(extent, tf.int32) - 1
        low = tf.maximum(tf.cast(below, tf.int32), 0)
        high = tf.minimum(tf.cast(tf.math.ceil(places), tf.int32), last)
        return low, high, places - below

    top, bottom, down = neighbours(0)
    left, right, across = neighbours(1)
    down = down[:, :, tf.newaxis, tf.newaxis]
    across = across[:, tf.newaxis, :, tf.newaxis]

    def row(places: tf.Tensor) -> tf.Tensor:
        lines = tf.gather(images, places, axis=1, batch_dims=1)
        near = tf.cast(tf.gather(lines, left, axis=2, batch_dims=1), tf.float32)
        far = tf.cast(tf.gather(lines, right, axis=2, batch_dims=1), tf.float32)
        return near + (far - near) * across

    upper = row(top)
    return upper + (row(bottom) - upper) * down


def pad_image(image: np.ndarray) -> np.ndarray:
    """The image `[h, w, channels]` in the corner of a canvas of one of few sizes.

    Each side is rounded up to a power of two or 1.5 times one, so that a data set of any sizes
    falls into a few dozen shapes, at a cost of less than half of each side.
    """
    height, width = image.shape[:2]
    canvas = (_canvas_side(height), _canvas_side(width))
    if canvas == (height, width):
        return image
    padded = np.zeros((*canvas, *image.shape[2:]), image.dtype)
    padded[:height, :width] = image
    return padded


def extents_of(images: Sequence[np.ndarray]) -> np.ndarray:
    """Height and width of each image, int32 `[n, 2]`."""
    return np.array([image.shape[:2] for image in images], np.int32).reshape(-1, 2)


def _canvas_side(pixels: int) -> int:
    power = 1 << max(0, (pixels - 1).bit_length() - 1)
    return next(side for side in (power, power * 3 // 2, power * 2) if side >= pixels)
