"""Encoded images as uint8 arrays.

PNG and JPEG go to OpenCV, which releases the interpreter lock; all else, and PNGs and JPEGs
that OpenCV reads differently (CMYK, 16 bits, transparent colours, truncated ones), go to
Pillow. Pixels equal Pillow's either way, also where a JPEG is shrunk while it is decoded.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from transforms.conversion import NullValueError
from transforms.image_headers import ImageHeader, read_header

if TYPE_CHECKING:
    from PIL import Image

# Pillow's own limit: a quarter of a GiB of RGB pixels.
DEFAULT_MAX_PIXELS = (1 << 30) // 4 // 3
# OpenCV's.
MOST_PIXELS = 1 << 30

# Weights of red, green and blue, and half a level to round.
_LUMA = np.array([[19595, 38470, 7471, 0x8000]]) / (1 << 16)

# Of others Pillow starts programs, such as Ghostscript.
_PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

# What JPEG's blocks of eight by eight can be decoded smaller by.
_REDUCTIONS = (8, 4, 2)


class ImageError(ValueError):
    """Bytes are no image, a truncated one, or one that is too large."""


def decode_image(
    encoded: bytes | None,
    channels: int,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    least_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """One image as `uint8[height, width, channels]`, not turned by its EXIF orientation.

    Args:
      encoded: a file's bytes.
      channels: 1 (gray), 3 (RGB) or 4 (RGBA), whatever the file has.
      max_pixels: stored width times height above which an image is refused undecoded.
      least_size: a JPEG of at least 2, 4 or 8 times this height and width is decoded so much
        smaller, rounded up. Faster and a fraction of the memory; pixels become averages of
        those stored. None leaves all in their own size.

    Raises:
      NullValueError: there are no bytes.
      ImageError: they are no image that Pillow reads whole, or one above `max_pixels`.
    """
    if encoded is None:
        raise NullValueError("expected an image file. Received: null.")
    header = read_header(encoded)
    if header is not None:
        _check_size(header.width, header.height, max_pixels)
        if header.is_plain:
            reduction = _reduction(header, least_size)
            pixels = _decode_with_opencv(encoded, header, channels, reduction)
            if pixels is not None:
                return pixels
    return _decode_with_pillow(encoded, channels, max_pixels, least_size)


def images_to_column(images: Sequence[np.ndarray | None]) -> pa.Array:
    """Images as one column; None is null.

    A fixed-shape tensor where all have one shape, else a struct of flat `data` and `shape`.

    Args:
      images: each `uint8[height, width, channels]`.
    """
    shapes = {image.shape for image in images if image is not None}
    nulls = pa.array([image is None for image in images], pa.bool_())
    mask = nulls if nulls.true_count else None
    if len(shapes) == 1:
        shape = shapes.pop()
        stacked = np.zeros((len(images), *shape), np.uint8)
        for row, image in enumerate(images):
            if image is not None:
                stacked[row] = image
        storage = pa.FixedSizeListArray.from_arrays(
            pa.array(stacked.reshape(-1)), math.prod(shape), mask=mask
        )
        return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.uint8(), shape), storage)
    sizes = [0 if image is None else image.size for image in images]
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    flat = [image.reshape(-1) for image in images if image is not None]
    values = pa.array(np.concatenate(flat) if flat else np.zeros(0, np.uint8))
    data = pa.LargeListArray.from_arrays(pa.array(offsets), values)
    shape_lists = pa.array(
        [[] if image is None else list(image.shape) for image in images], pa.list_(pa.int32())
    )
    return pa.StructArray.from_arrays([data, shape_lists], ["data", "shape"], mask=mask)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"expected at most {max_pixels} pixels. Received: an image of {width} x {height}. "
            "Pass a larger --max_image_pixels."
        )


def _reduction(header: ImageHeader, least_size: tuple[int, int] | None) -> int:
    """By how much an image is decoded smaller, as Pillow's `draft` chooses it."""
    if least_size is None or not header.is_jpeg:
        return 1
    times = min(header.height // least_size[0], header.width // least_size[1])
    return next((reduction for reduction in _REDUCTIONS if reduction <= times), 1)


def _decode_with_opencv(
    encoded: bytes, header: ImageHeader, channels: int, reduction: int
) -> np.ndarray | None:
    """The pixels, or None where OpenCV cannot read them."""
    import cv2

    data = np.frombuffer(encoded, np.uint8)
    as_stored = channels == 1 and header.is_gray
    with_alpha = channels == 4 and header.has_alpha
    if as_stored:
        flags = cv2.IMREAD_GRAYSCALE
    elif with_alpha:
        flags = cv2.IMREAD_UNCHANGED
    else:
        flags = cv2.IMREAD_COLOR_RGB
    if reduction > 1:
        # The gray flags have the bits of the reduction alone.
        flags |= getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{reduction}")
    try:
        pixels = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None:
        return None
    if as_stored:
        return pixels[..., np.newaxis]
    if with_alpha:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    if channels == 1:
        return _luma(pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA) if channels == 4 else pixels


def _luma(pixels: np.ndarray) -> np.ndarray:
    """Gray by ITU-R 601 in Pillow's fixed point; OpenCV's rounding and JPEG's own Y differ."""
    import cv2

    # Multiples of 2**-16 below 2**8: float32 holds every product and sum exactly.
    return cv2.transform(pixels.astype(np.float32), _LUMA).astype(np.uint8)[..., np.newaxis]


def _decode_with_pillow(
    encoded: bytes, channels: int, max_pixels: int, least_size: tuple[int, int] | None
) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        # Pillow has one limit for all threads, and refuses images above twice of it itself.
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with Image.open(io.BytesIO(encoded), formats=_PILLOW_FORMATS) as image:
            _check_size(*image.size, max_pixels)
            if least_size is not None and image.format == "JPEG":
                image.draft(None, (least_size[1], least_size[0]))
            return _pillow_pixels(image, channels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"expected at most {max_pixels} pixels. Received: more, by Pillow's own limit. "
            "Pass a larger --max_image_pixels."
        ) from error
    except UnidentifiedImageError as error:
        # Pillow's own message names a buffer by its address.
        raise ImageError(
            f"expected an image file. Received: {len(encoded)} bytes that start with "
            f"{encoded[:8]!r}, which Pillow does not recognise."
        ) from error
    # Pillow's plugins raise what their parsers happen to meet in damaged files.
    except Exception as error:
        raise ImageError(
            f"expected an image file. Received: {len(encoded)} bytes; {type(error).__name__}: "
            f"{error}"
        ) from error


def _pillow_pixels(image: Image.Image, channels: int) -> np.ndarray:
    pixels = np.asarray(image.convert(_MODES[channels]))
    return pixels[..., np.newaxis] if channels == 1 else pixels
