"""The frames of a TFRecord file, whether it is compressed or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from pipelines import storage
from pipelines.sources.frame_ranges import range_frames
from pipelines.sources.framing import (
    HEADER_BYTES,
    Framed,
    Gap,
    LongRecord,
    framed,
    record_length,
)
from pipelines.sources.streams import (
    gzip_or_zlib,
    inflated,
    stored_chunks,
)
from pipelines.splits import InputFile, Split


def is_plain(file: InputFile) -> bool:
    """Whether a file is not compressed, so that it can be read in ranges."""
    with contextlib.closing(storage.open_to_read(file.path)) as handle:
        return window_bits(handle) is None


def window_bits(handle: BinaryIO) -> int | None:
    """How to inflate an open file, which is at its start then; None if it is plain."""
    handle.seek(0)
    head = handle.read(HEADER_BYTES)
    handle.seek(0)
    # A plain file may begin like a compressed one, but then its first header is sound.
    return gzip_or_zlib(head) if record_length(head) is None else None


def split_frames(split: Split, max_record_bytes: int) -> Iterator[Framed | Gap | LongRecord]:
    """The records whose frames start in a split, in order, and what lies between them.

    Raises:
      DamagedFileError: behind the last of them, where the rest of a compressed file is damaged.
    """
    path = split.files[0]
    with contextlib.closing(storage.open_to_read(path)) as handle:
        is_whole = split.start == 0 and split.stop is None
        bits = window_bits(handle) if is_whole else None
        if bits is None:
            yield from range_frames(handle, path, split.start, split.stop, max_record_bytes)
        else:
            chunks = inflated(stored_chunks(handle), bits)
            yield from framed(chunks, max_record_bytes=max_record_bytes)
