"""TFRecord framing: records out of a stream of bytes, their checksums verified."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import google_crc32c
import numpy as np

from pipelines.sources.streams import DamagedFileError

# Little-endian: uint64 length, uint32 checksum of it, the record, uint32 checksum of that.
HEADER_BYTES = 12
_FOOTER_BYTES = 4
_LENGTH_BYTES = 8
_MASK_DELTA = 0xA282EAD8
# Protocol buffers cannot be larger, and a damaged stream must not fill the memory.
_MAX_RECORD_BYTES = 2**31
_MAX_KNOWN_HEADERS = 2**16


class Framed(NamedTuple):
    """Some records of a stream, in order.

    Attributes:
      records: what lies between the frames, damaged or not.
      damaged: positions in `records` whose checksum does not fit.
    """

    records: list[bytes]
    damaged: list[int]


def masked_checksum(data: bytes) -> int:
    """The checksum that a TFRecord stores for `data`."""
    checksum: int = google_crc32c.value(data)
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def record_length(header: bytes) -> int | None:
    """The length that a frame's first 12 bytes name; None where their checksum does not fit."""
    if len(header) < HEADER_BYTES:
        return None
    length, checksum = struct.unpack("<QI", header)
    if masked_checksum(header[:_LENGTH_BYTES]) != checksum:
        return None
    return int(length)


def framed(chunks: Iterable[bytes], size_bytes: int | None = None) -> Iterator[Framed]:
    """Cuts a stream into records, as many at once as each chunk completes.

    A record whose own checksum does not fit is given as damaged and the stream goes on
    behind it; a damaged length ends the stream, as nothing says where the next record is.

    Args:
      chunks: the uncompressed stream, in pieces of any size.
      size_bytes: its length where that is known; bounds the lengths that are believed.

    Raises:
      DamagedFileError: after the last record that can be read, if the stream does not end there.
    """
    lengths: dict[bytes, int] = {}
    pieces: list[bytes] = []
    buffered = wanted = offset = 0
    for chunk in chunks:
        pieces.append(chunk)
        buffered += len(chunk)
        if buffered < wanted:
            continue
        cut = _cut(b"".join(pieces), lengths)
        if cut.records:
            yield Framed(cut.records, _damaged(cut.records, cut.checksums))
        offset += cut.used
        if cut.length_is_damaged:
            raise DamagedFileError(f"no record starts at byte {offset}: the file is damaged there")
        pieces, buffered, wanted = [cut.rest], len(cut.rest), cut.wanted
        if size_bytes is not None and offset + wanted > size_bytes:
            raise _cut_off(offset)
    if buffered:
        raise _cut_off(offset)


def regrouped(frames: Iterable[Framed], rows: int, size_bytes: int) -> Iterator[Framed]:
    """The same records in groups of `rows`, or fewer where they reach `size_bytes`.

    Raises:
      DamagedFileError: as `frames` does, after the records before it.
    """
    records: list[bytes] = []
    damaged: list[int] = []
    held_bytes = 0
    failure: DamagedFileError | None = None
    try:
        for frame in frames:
            damaged += [len(records) + position for position in frame.damaged]
            records += frame.records
            held_bytes += sum(map(len, frame.records))
            while len(records) >= rows or held_bytes >= size_bytes:
                head = [position for position in damaged if position < rows]
                yield Framed(records[:rows], head)
                damaged = [position - rows for position in damaged[len(head) :]]
                records = records[rows:]
                held_bytes = sum(map(len, records))
    except DamagedFileError as error:
        failure = error
    if records:
        yield Framed(records, damaged)
    if failure is not None:
        raise failure


def _cut_off(offset: int) -> DamagedFileError:
    return DamagedFileError(f"the record at byte {offset} is not complete: the file is cut off")


class _Cut(NamedTuple):
    records: list[bytes]
    checksums: list[bytes]
    used: int
    rest: bytes
    wanted: int
    length_is_damaged: bool


def _cut(buffer: bytes, lengths: dict[bytes, int]) -> _Cut:
    """The whole records at the start of a buffer, and how many bytes the next one needs.

    `lengths` remembers verified headers: records of equal length have equal ones.
    """
    records: list[bytes] = []
    checksums: list[bytes] = []
    at, end = 0, len(buffer)
    wanted, length_is_damaged = 0, False
    while at + HEADER_BYTES <= end:
        header = buffer[at : at + HEADER_BYTES]
        length = lengths.get(header)
        if length is None:
            length = record_length(header)
            if length is None or length > _MAX_RECORD_BYTES:
                length_is_damaged = True
                break
            if len(lengths) < _MAX_KNOWN_HEADERS:
                lengths[header] = length
        stop = at + HEADER_BYTES + length
        if stop + _FOOTER_BYTES > end:
            wanted = stop + _FOOTER_BYTES - at
            break
        records.append(buffer[at + HEADER_BYTES : stop])
        at = stop + _FOOTER_BYTES
        checksums.append(buffer[stop:at])
    return _Cut(records, checksums, at, buffer[at:], wanted, length_is_damaged)


def _damaged(records: list[bytes], checksums: list[bytes]) -> list[int]:
    actual = np.fromiter(map(google_crc32c.value, records), np.uint32, len(records))
    # np.uint32 arithmetic wraps as the format's mask wants it.
    masked = ((actual >> 15) | (actual << 17)) + np.uint32(_MASK_DELTA)
    stored = np.frombuffer(b"".join(checksums), "<u4")
    positions: list[int] = np.flatnonzero(masked != stored).tolist()
    return positions
