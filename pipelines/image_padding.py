"""Images of many sizes in few shapes, so that they can share batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.splits import InputFile
from transforms.columns import column_parts
from transforms.image_headers import read_header
from transforms.images import images_to_column
from transforms.resize import EXTENT_SUFFIX, extents_of, pad_image

_SAMPLED_FILES = 16
# Enough for the headers that cameras write, thumbnail included.
_HEADER_BYTES = 2**18


def sizes_differ(files: Sequence[InputFile]) -> bool:
    """Whether some images of a dataset differ in size, or may: not all formats tell at once."""
    step = max(1, len(files) // _SAMPLED_FILES)
    sizes = set()
    for file in files[::step]:
        try:
            with storage.open_to_read(file.path) as stream:
                header = read_header(stream.read(_HEADER_BYTES))
        except OSError:
            # It will be a failed row, with its own message.
            continue
        sizes.add((header.width, header.height) if header else None)
    return len(sizes) > 1 or None in sizes


def with_padding(batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
    """Pads images that differ in size, and says what part of each holds pixels.

    Args:
      batch: some rows.
      name: the column of images.

    Returns:
      The batch with a further column `<name>_extent`, int32 `[rows, 2]`. Images that are all of
      one size stay as they are.
    """
    parts = column_parts(batch.column(name)).parts
    images: list[np.ndarray] = [np.empty(0)] * batch.num_rows
    for part in parts:
        rows = range(len(part.values)) if part.rows is None else part.rows.tolist()
        for row, image in zip(rows, part.values, strict=True):
            images[row] = image
    extents = pa.FixedSizeListArray.from_arrays(pa.array(extents_of(images).reshape(-1)), 2)
    if len(parts) > 1:
        column = images_to_column([pad_image(image) for image in images])
        batch = batch.set_column(batch.schema.get_field_index(name), name, column)
    return batch.append_column(name + EXTENT_SUFFIX, extents)
