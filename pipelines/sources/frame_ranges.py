"""The TFRecords of one byte range of a file, those behind damaged bytes included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from pipelines.sources.base import InputError
from pipelines.sources.byte_ranges import ByteWindow
from pipelines.sources.frame_search import WALK_BYTES, FrameSearch
from pipelines.sources.framing import MAX_RECORD_BYTES, Framed, Gap, LongRecord, framed
from pipelines.sources.streams import DamagedFileError


def range_frames(
    handle: BinaryIO,
    path: str,
    start: int = 0,
    stop: int | None = None,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Framed | Gap | LongRecord]:
    """Gives the records whose frames start in a range, in order.

    The ranges of a file that has been cut anywhere give together what the whole file gives:
    each record once, and each gap in the range where it begins. Where a frame is damaged just
    behind a range, its gap and what else lies before the next range's first record belong to
    this one.

    Args:
      handle: the file, not compressed; can seek.
      path: its name, for messages.
      start: where the range begins.
      stop: where the next one does; None for the file's end.
      max_record_bytes: a longer record is passed by.

    Raises:
      InputError: the file has become shorter than this range, or the next range would take
        bytes of this one's last record for records.
    """
    window = ByteWindow(handle)
    search = FrameSearch(window)
    size = window.size_bytes
    if max(start, stop or 0) > size:
        raise InputError(
            f"expected {path} to have {max(start, stop or 0)} bytes or more, as when the job was "
            f"planned. Received: {size}. Start anew with --overwrite, or restore the file."
        )
    at = search.first(start, stop) if start else 0
    end = size if stop is None else stop
    border: int | None = None
    while at is not None and at < end:
        position = at
        try:
            for group in framed(window.chunks(at, end), size, at, end, max_record_bytes):
                yield group
                position = group.end
        except DamagedFileError as error:
            yield Gap(position, str(error))
            at = search.first(position + 1, end)
            continue
        at = position
        if stop is not None and border is None:
            border = search.border(stop, at)
            end = size if border is None else max(end, border)
    if at is not None and border is not None and at > border:
        raise _disagreement(path, border, at, size)


def _disagreement(path: str, border: int, frame: int, size: int) -> InputError:
    return InputError(
        f"expected records of {path} that hold TFRecords themselves to end within {WALK_BYTES} "
        f"bytes of a border between splits. Received: one that ends at byte {frame}, and whole "
        f"records within it from byte {border} on. Pass --overwrite --split_bytes {size}, which "
        "leaves the file in one piece."
    )
