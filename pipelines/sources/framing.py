"""TFRecord framing: records out of a stream of bytes, their checksums verified."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import google_crc32c
import numpy as np

from pipelines.sources.streams import DamagedFileError

# Little-endian: uint64 length, uint32 checksum of it, the record, uint32 checksum of that.
HEADER_BYTES = 12
FOOTER_BYTES = 4
FRAME_BYTES = HEADER_BYTES + FOOTER_BYTES
LENGTH_BYTES = 8
# Protocol buffers cannot be larger, and a damaged stream must not fill the memory.
MAX_RECORD_BYTES = 2**31
_MASK_DELTA = 0xA282EAD8
_MAX_KNOWN_HEADERS = 2**16

_Checksums = TypeVar("_Checksums", int, np.ndarray)


class Framed(NamedTuple):
    """Some records of a stream, one behind the other.

    Attributes:
      records: what lies between the frames, damaged or not.
      damaged: positions in `records` whose checksum does not fit.
      offset: byte of the stream at which the first one's frame starts.
    """

    records: list[bytes]
    damaged: list[int]
    offset: int = 0

    @property
    def offsets(self) -> np.ndarray:
        """Where the frame of each record starts, int64."""
        sizes = np.fromiter(map(len, self.records), np.int64, len(self.records)) + FRAME_BYTES
        return np.cumsum(sizes) - sizes + self.offset

    @property
    def end(self) -> int:
        """Where the frame behind these starts."""
        return self.offset + sum(map(len, self.records)) + FRAME_BYTES * len(self.records)


class Gap(NamedTuple):
    """Bytes of a file in which no frame can be found.

    Attributes:
      offset: where a frame should have started.
      message: what is wrong there.
    """

    offset: int
    message: str


class LongRecord(NamedTuple):
    """A record that is not given, since it is longer than wanted.

    Attributes:
      offset: where its frame starts.
      end: where the next one does.
    """

    offset: int
    end: int


def masked(checksum: _Checksums) -> _Checksums:
    """A CRC32C as TFRecords store it, or a uint32 array of them."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def masked_checksum(data: bytes) -> int:
    """The checksum that a TFRecord stores for `data`."""
    checksum: int = google_crc32c.value(data)
    return masked(checksum)


def record_length(header: bytes) -> int | None:
    """The length that a frame's first 12 bytes name.

    None where their checksum does not fit, or where no record can be so long.
    """
    if len(header) < HEADER_BYTES:
        return None
    length, checksum = struct.unpack("<QI", header)
    if length > MAX_RECORD_BYTES or masked_checksum(header[:LENGTH_BYTES]) != checksum:
        return None
    return int(length)


def framed(
    chunks: Iterable[bytes],
    size_bytes: int | None = None,
    start: int = 0,
    stop: int | None = None,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Framed | LongRecord]:
    """Cuts a stream into records, as many at once as each chunk completes.

    A record whose own checksum does not fit is given as damaged if another frame or the end
    follows it; otherwise, and where a length is damaged, nothing says where the next one is.

    Args:
      chunks: the uncompressed stream, in pieces of any size.
      size_bytes: where it ends, if that is known; bounds the lengths that are believed.
      start: where it starts in its file.
      stop: no record is given that starts there or behind it.
      max_record_bytes: a longer record is passed by, and not looked at.

    Raises:
      DamagedFileError: after the last record that can be read, if the stream neither ends nor
        comes to `stop` there.
    """
    lengths: dict[bytes, int] = {}
    pieces: list[bytes] = []
    # A damaged record, until it is known what follows it.
    held: Framed | None = None
    passed: LongRecord | None = None
    buffered = wanted = 0
    at = start
    for chunk in chunks:
        pieces.append(chunk)
        buffered += len(chunk)
        while buffered and (passed is not None or buffered >= wanted):
            data = b"".join(pieces)
            if passed is not None:
                used = min(buffered, passed.end - at)
                at += used
                pieces, buffered, wanted = [data[used:]], buffered - used, 0
                if at == passed.end:
                    yield passed
                    passed = None
                    if stop is not None and at >= stop:
                        return
                continue
            cut = _cut(data, lengths, None if stop is None else stop - at, max_record_bytes)
            if held is not None and (cut.records or cut.follows):
                yield held
                held = None
            if cut.records:
                group = Framed(cut.records, _damaged(cut.records, cut.checksums), at)
                at += cut.used
                if not cut.follows and group.damaged[-1:] == [len(group.records) - 1]:
                    last = group.records[-1]
                    held = Framed([last], [0], at - len(last) - FRAME_BYTES)
                    group = Framed(group.records[:-1], group.damaged[:-1], group.offset)
                if group.records:
                    yield group
            if stop is not None and at >= stop and held is None:
                return
            if cut.follows is False:
                raise _damage_at(at, held)
            pieces, buffered, wanted = [cut.rest], len(cut.rest), cut.wanted
            if size_bytes is not None and at + wanted > size_bytes:
                raise _cut_off(at)
            if wanted <= max_record_bytes + FRAME_BYTES:
                break
            passed = LongRecord(at, at + wanted)
    if passed is not None:
        raise _cut_off(passed.offset)
    if buffered:
        raise _cut_off(at) if held is None else _damage_at(at, held)
    if held is not None:
        yield held


def regrouped(
    frames: Iterable[Framed | Gap | LongRecord], rows: int, size_bytes: int
) -> Iterator[Framed | Gap | LongRecord]:
    """The same records in groups of `rows`, or fewer where they reach `size_bytes` or none.

    Raises:
      DamagedFileError: as `frames` does, after the records before it.
    """
    held = Framed([], [])
    held_bytes = 0
    failure: DamagedFileError | None = None
    try:
        for frame in frames:
            if not isinstance(frame, Framed):
                if held.records:
                    yield held
                    held, held_bytes = Framed([], []), 0
                yield frame
                continue
            held = _joined(held, frame)
            held_bytes += sum(map(len, frame.records))
            while len(held.records) >= rows or held_bytes >= size_bytes:
                head = [position for position in held.damaged if position < rows]
                group = Framed(held.records[:rows], head, held.offset)
                yield group
                damaged = [position - rows for position in held.damaged[len(head) :]]
                held = Framed(held.records[rows:], damaged, group.end)
                held_bytes = sum(map(len, held.records))
    except DamagedFileError as error:
        failure = error
    if held.records:
        yield held
    if failure is not None:
        raise failure


def _joined(held: Framed, frame: Framed) -> Framed:
    if not held.records:
        return frame
    damaged = [len(held.records) + position for position in frame.damaged]
    return Framed(held.records + frame.records, held.damaged + damaged, held.offset)


def _cut_off(offset: int) -> DamagedFileError:
    return DamagedFileError(f"the record at byte {offset} is not complete: the file is cut off")


def _damage_at(offset: int, held: Framed | None) -> DamagedFileError:
    if held is None:
        return DamagedFileError(f"no record starts at byte {offset}: the file is damaged there")
    return DamagedFileError(
        f"the record at byte {held.offset} is damaged, and no other follows it at byte {offset}"
    )


class _Cut(NamedTuple):
    """Records at the start of a buffer.

    Attributes:
      records: the whole ones.
      checksums: the stored ones of these.
      used: bytes of their frames.
      rest: bytes behind them.
      wanted: how many bytes the next one needs, if that can be told.
      follows: whether a sound header follows them; None where there is not enough of it.
    """

    records: list[bytes]
    checksums: list[bytes]
    used: int
    rest: bytes
    wanted: int
    follows: bool | None


def _cut(buffer: bytes, lengths: dict[bytes, int], stop: int | None, max_record_bytes: int) -> _Cut:
    """The whole records that start before `stop`, up to one that is too long.

    `lengths` remembers verified headers: records of equal length have equal ones.
    """
    records: list[bytes] = []
    checksums: list[bytes] = []
    at, end = 0, len(buffer)
    last = end - HEADER_BYTES if stop is None else min(end - HEADER_BYTES, stop - 1)
    wanted = 0
    follows: bool | None = None
    while at <= last:
        header = buffer[at : at + HEADER_BYTES]
        length = lengths.get(header)
        if length is None:
            length = record_length(header)
            if length is None:
                follows = False
                break
            if len(lengths) < _MAX_KNOWN_HEADERS:
                lengths[header] = length
        footer = at + HEADER_BYTES + length
        if footer + FOOTER_BYTES > end or length > max_record_bytes:
            wanted, follows = footer + FOOTER_BYTES - at, True
            break
        records.append(buffer[at + HEADER_BYTES : footer])
        at = footer + FOOTER_BYTES
        checksums.append(buffer[footer:at])
    if follows is None and at + HEADER_BYTES <= end:
        follows = record_length(buffer[at : at + HEADER_BYTES]) is not None
    return _Cut(records, checksums, at, buffer[at:], wanted, follows)


def _damaged(records: list[bytes], checksums: list[bytes]) -> list[int]:
    actual = np.fromiter(map(google_crc32c.value, records), np.uint32, len(records))
    stored = np.frombuffer(b"".join(checksums), "<u4")
    positions: list[int] = np.flatnonzero(masked(actual) != stored).tolist()
    return positions
