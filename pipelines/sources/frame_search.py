"""Where TFRecord frames start, in a file that is entered somewhere or is damaged before it.

Ranges of one file are read by workers that know nothing of each other, so where one ends and
the next begins is a function of the bytes alone: the first *start* at or behind an offset. An
offset is a start if

1. a frame is there: its 12 bytes of header fit their checksum and its length the file, and
   either another sound header or the file's end follows it, or its data fit their checksum;
2. it does not lie within another frame. Records may hold whole TFRecords themselves, whose
   frames satisfy the first rule. But a chain of such frames ends where the record around them
   does, and no header is there. So the headers behind the offset are walked for `WALK_BYTES`.
   Where they break, damage may be the cause instead: the offset is a start unless there is a
   frame in the `BEHIND_BYTES` before the break that it lies within.

That bytes satisfy the first rule by chance takes two checksums of 32 bits, or one and the exact
end of the file: less than 2**-63 for each byte searched, thus 2**-23 for a TiB of them, and
2**-32 less again where the bytes are not small integers. What is left for the second are frames
in a record that goes on for `WALK_BYTES` behind the border. The range before knows better, for
it came along the true frames: it compares (`FrameSearch.border`), and refuses. As the first
range starts at byte 0, a file without damage cannot lose or double a row unnoticed.
"""

from __future__ import annotations

from typing import NamedTuple

import google_crc32c
import numpy as np

from pipelines.sources.byte_ranges import ByteWindow
from pipelines.sources.framing import (
    FOOTER_BYTES,
    FRAME_BYTES,
    HEADER_BYTES,
    LENGTH_BYTES,
    MAX_RECORD_BYTES,
    masked,
    record_length,
)

WALK_BYTES = 4 * 2**20
BEHIND_BYTES = 64 * 2**20
_SCAN_BYTES = 2**20
_MAX_KNOWN_HEADERS = 2**16

# A checksum of eight bytes is that of zeros, changed by each byte on its own. The upper half of
# a length is zero in all that are believed.
_ZERO_CHECKSUM = google_crc32c.value(bytes(LENGTH_BYTES))
_BYTE_CHANGES = np.array(
    [
        [
            google_crc32c.value(bytes(place) + bytes([value]) + bytes(LENGTH_BYTES - 1 - place))
            ^ _ZERO_CHECKSUM
            for value in range(256)
        ]
        for place in range(4)
    ],
    np.uint32,
)


class Headers(NamedTuple):
    """Sound headers among some bytes.

    Attributes:
      offsets: where they start, int64[n].
      lengths: of the records that they announce, int64[n].
    """

    offsets: np.ndarray
    lengths: np.ndarray


def sound_headers(data: bytes) -> Headers:
    """All offsets at which a frame's header would fit its checksum, whatever follows."""
    values = np.frombuffer(data, np.uint8)
    count = max(0, len(values) - HEADER_BYTES + 1)
    pairs = values[4 : count + 6] | values[5 : count + 7]
    offsets = np.flatnonzero((pairs[:count] | pairs[2 : count + 2]) == 0)
    checksums = np.full(len(offsets), _ZERO_CHECKSUM, np.uint32)
    lengths = np.zeros(len(offsets), np.int64)
    stored = np.zeros(len(offsets), np.uint32)
    for place in range(4):
        part = values[offsets + place]
        checksums ^= _BYTE_CHANGES[place][part]
        lengths |= part.astype(np.int64) << (8 * place)
        stored |= values[offsets + LENGTH_BYTES + place].astype(np.uint32) << (8 * place)
    fits = (masked(checksums) == stored) & (lengths <= MAX_RECORD_BYTES)
    return Headers(offsets[fits], lengths[fits])


class FrameSearch:
    """Finds starts in one file."""

    def __init__(self, window: ByteWindow) -> None:
        """Takes a window on the file, not compressed."""
        self._window = window
        self._lengths: dict[bytes, int] = {}
        self._enclosed: set[int] = set()

    def first(self, offset: int, stop: int | None = None) -> int | None:
        """The first start at or behind `offset`; None if there is none before `stop`.

        The window keeps the bytes from it on.
        """
        size = self._window.size_bytes
        stop = size if stop is None else min(stop, size)
        for at in range(offset, stop, _SCAN_BYTES):
            end = min(at + _SCAN_BYTES, stop)
            headers = sound_headers(self._window.keep(at, end + HEADER_BYTES - 1))
            for found in headers.offsets.tolist():
                if self._is_start(at + found):
                    return int(at + found)
        return None

    def border(self, stop: int, frame: int) -> int | None:
        """The first start at or behind `stop`, as a reader sees it that came to `frame`.

        Args:
          stop: where another reader begins its search.
          frame: where the last frame ends that starts before `stop`; it is not within another.
        """
        earlier = self.first(stop, frame)
        if earlier is not None:
            return earlier
        return frame if self._is_frame(frame) else self.first(frame + 1)

    def _is_start(self, offset: int) -> bool:
        if offset in self._enclosed or not self._is_frame(offset):
            return False
        frames, end = self._walk(offset)
        if end is None:
            return True
        around = self._around(offset, end)
        if around is None:
            return True
        self._enclosed.update(frame for frame in frames if frame < around)
        return False

    def _is_frame(self, offset: int) -> bool:
        """The first rule of this module."""
        length = self._length(offset)
        if length is None:
            return False
        stop = offset + HEADER_BYTES + length
        following = stop + FOOTER_BYTES
        if following > self._window.size_bytes:
            return False
        if following == self._window.size_bytes or self._length(following) is not None:
            return True
        checksum = 0
        for at in range(offset + HEADER_BYTES, stop, _SCAN_BYTES):
            data = self._window.look(at, min(at + _SCAN_BYTES, stop))
            checksum = google_crc32c.extend(checksum, data)
        stored = int.from_bytes(self._window.look(stop, following), "little")
        return masked(checksum) == stored

    def _length(self, offset: int) -> int | None:
        return record_length(self._window.look(offset, offset + HEADER_BYTES))

    def _walk(self, offset: int) -> tuple[list[int], int | None]:
        """Frames one behind the other, and where none follows before the walk's end."""
        size = self._window.size_bytes
        end = min(offset + WALK_BYTES, size)
        data = self._window.keep(offset, end + HEADER_BYTES - 1)
        frames: list[int] = []
        at = offset
        while at < end:
            header = data[at - offset : at - offset + HEADER_BYTES]
            length = self._lengths.get(header)
            if length is None:
                length = record_length(header)
                if length is None:
                    return frames, at
                if len(self._lengths) < _MAX_KNOWN_HEADERS:
                    self._lengths[header] = length
            if at + length + FRAME_BYTES > size:
                return frames, at
            frames.append(at)
            at += length + FRAME_BYTES
        return frames, None

    def _around(self, offset: int, end: int) -> int | None:
        """The end of a frame around `offset`, from where a walk came to `end`; None without."""
        oldest = max(0, end - BEHIND_BYTES)
        for stop in range(offset, oldest, -_SCAN_BYTES):
            start = max(oldest, stop - _SCAN_BYTES)
            offsets, lengths = sound_headers(self._window.look(start, stop + HEADER_BYTES - 1))
            stops = offsets + start + lengths + FRAME_BYTES
            for index in np.flatnonzero(stops > offset).tolist():
                if self._is_frame(int(offsets[index]) + start):
                    return int(stops[index])
        return None
