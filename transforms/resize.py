"""Resizing images on the device, inside the step."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


class ResizeImages:
    """A `preprocess` that brings images of any size to the model's, whole batches at once.

    Bilinear, without antialiasing, as ``tf.image.resize`` does it by default. Pixels keep
    their scale: 0 to 255 stays 0 to 255. Images travel to the device as they are stored,
    as a rule in uint8, a quarter of the bytes of floats.
    """

    def __init__(
        self, height: int, width: int, *, column: str = "image", dtype: str = "float32"
    ) -> None:
        """Args:
        height: rows of pixels that the model takes.
        width: columns of pixels.
        column: where the images are; the parameter's name that stands for it.
        dtype: what the model takes; integers are rounded.
        """
        if height < 1 or width < 1:
            raise ValueError(f"expected a size of 1,1 or more. Received: {height},{width}.")
        self._size = (height, width)
        self._dtype = dtype
        self.digest = f"resize {column} to {height},{width} {dtype}"
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(column, inspect.Parameter.KEYWORD_ONLY)]
        )

    def __call__(self, **columns: tf.Tensor) -> tf.Tensor:
        """Images `[n, height, width, channels]` of the model's dtype."""
        import tensorflow as tf

        (images,) = columns.values()
        resized = tf.image.resize(images, self._size)
        dtype = tf.as_dtype(self._dtype)
        if dtype.is_integer and not resized.dtype.is_integer:
            return tf.saturate_cast(tf.round(resized), dtype)
        return tf.cast(resized, dtype)
