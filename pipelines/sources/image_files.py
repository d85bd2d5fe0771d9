"""One image on its way from a file to pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipelines import storage
from pipelines.retrying import OutageError, outages_named
from pipelines.sources.record_limits import RECORD_SIZE_ERROR, too_long
from transforms.conversion import NullValueError
from transforms.engine.stage_times import DECODE, READ, STAGE_TIMES
from transforms.failures import Failure
from transforms.images import ImageError, decode_image


class ImageFile(NamedTuple):
    """An image that is to be decoded.

    Attributes:
      path: of its file.
      encoded: the file's bytes, where they are known: as they were, if a table has them.
      known: what became of it, where that is known.
      is_named_by_data: no command named the file: none of its bytes are copied unless they are
        an image. It is read where those that are known are none.
    """

    path: str
    encoded: bytes | None = None
    known: np.ndarray | Failure | None = None
    is_named_by_data: bool = False


class ImageLimits(NamedTuple):
    """What larger images and files are not decoded for: pixels, and bytes of the file."""

    pixels: int
    file_bytes: int


def read_image(
    image: ImageFile, channels: int, least_size: tuple[int, int] | None, limits: ImageLimits
) -> np.ndarray | Failure:
    """An image as `uint8[height, width, channels]`, or why it is none.

    Args:
      image: which one.
      channels: 1, 3 or 4.
      least_size: height and width that JPEGs may be decoded smaller to; None for all pixels.
      limits: what is larger fails.

    Raises:
      OutageError: its file is out of reach for now.
    """
    if image.known is not None:
        return image.known
    if image.encoded is None:
        encoded = _read(image, limits)
        if isinstance(encoded, Failure):
            return encoded
        return _decoded(image, encoded, channels, least_size, limits)
    found = _decoded(image, image.encoded, channels, least_size, limits)
    if isinstance(found, Failure) and image.is_named_by_data:
        # Whoever mends an image writes its file anew, and leaves the table alone.
        encoded = _read(image, limits)
        if not isinstance(encoded, Failure) and encoded != image.encoded:
            mended = _decoded(image, encoded, channels, least_size, limits)
            if not isinstance(mended, Failure):
                return mended
            return found._replace(
                message=f"{found.message} The file has changed since; now: {mended.message}"
            )
    return found


def _read(image: ImageFile, limits: ImageLimits) -> bytes | Failure:
    """The bytes of a file, one more than its limit at most."""
    path = image.path
    try:
        with STAGE_TIMES.stage(READ):
            if image.is_named_by_data:
                with outages_named():
                    is_there = storage.size_bytes(path) is not None
                if not is_there:
                    # Opening a pipe would wait for ever.
                    raise FileNotFoundError(f"there is no file {path}")
            with storage.open_to_read(path) as file:
                return file.read(limits.file_bytes + 1)
    except OutageError:
        # Its bytes may be had later.
        raise
    # Each filesystem's client has errors of its own; all mean that there are no bytes.
    except Exception as error:
        return Failure(path, 0, "read", type(error).__name__, str(error))


def _decoded(
    image: ImageFile,
    encoded: bytes,
    channels: int,
    least_size: tuple[int, int] | None,
    limits: ImageLimits,
) -> np.ndarray | Failure:
    if len(encoded) > limits.file_bytes:
        message = too_long("an image file", limits.file_bytes)
        return Failure(image.path, 0, "read", RECORD_SIZE_ERROR, message, image.encoded)
    try:
        with STAGE_TIMES.stage(DECODE):
            return decode_image(encoded, channels, limits.pixels, least_size)
    except (ImageError, NullValueError) as error:
        copy = image.encoded if image.is_named_by_data else encoded
        return Failure(image.path, 0, "decode", type(error).__name__, str(error), copy)
