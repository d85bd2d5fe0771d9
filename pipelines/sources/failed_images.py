"""Failed images, as files to decode again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from pipelines.failed_rows import RECORD_COLUMN
from pipelines.sources.image_files import ImageFile
from pipelines.sources.images import IMAGE_COLUMN
from pipelines.sources.origins import Origin
from pipelines.sources.parquet_rows import Rows
from pipelines.sources.table_rows import FailedRow, failed_rows, why_absent
from transforms.column_types import is_image
from transforms.failures import Failure


def image_files(
    pieces: Iterable[Rows | list[Failure]],
    table: str,
    origin: Origin | None,
    channels: int,
    rereads: bool,
) -> Iterator[ImageFile]:
    """The images of a table of failed rows, in order.

    Args:
      pieces: its rows, and failures of those that cannot be read.
      table: its path.
      origin: where the rows are from.
      channels: images that were kept with others are decoded anew.
      rereads: whether files are read for rows without a copy, or with one that is no image.
    """
    for piece in pieces:
        if not isinstance(piece, Rows):
            yield from (ImageFile(failure.source or table, known=failure) for failure in piece)
            continue
        names = piece.batch.schema.names
        for at, said in enumerate(failed_rows(piece, table)):
            image = _stored(piece.batch, at, channels) if IMAGE_COLUMN in names else None
            encoded = piece.batch.column(RECORD_COLUMN)[at] if RECORD_COLUMN in names else None
            yield _file(said, image, encoded and encoded.as_py(), origin, rereads)


def _file(
    said: FailedRow,
    image: np.ndarray | None,
    encoded: bytes | None,
    origin: Origin | None,
    rereads: bool,
) -> ImageFile:
    path = said.source or ""
    if image is not None:
        return ImageFile(path, known=image)
    if isinstance(encoded, bytes):
        may_read = why_absent(said, origin, rereads) is None
        return ImageFile(path, encoded=encoded, is_named_by_data=may_read)
    return ImageFile(path, known=why_absent(said, origin, rereads), is_named_by_data=True)


def _stored(batch: pa.RecordBatch, at: int, channels: int) -> np.ndarray | None:
    """The decoded copy of a row; None where there is none, or one of other channels."""
    if not is_image(batch.schema.field(IMAGE_COLUMN).type):
        return None
    value = batch.column(IMAGE_COLUMN)[at]
    if not value.is_valid:
        return None
    shape = value["shape"].as_py()
    image = value["data"].values.to_numpy().astype(np.uint8, copy=False)
    if len(shape) != 3 or shape[2] != channels or image.size != int(np.prod(shape)):
        return None
    return image.reshape(shape)
