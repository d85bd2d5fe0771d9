"""TFRecord files made for tests, their frames known."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

from pipelines.sources.frame_ranges import range_frames
from pipelines.sources.framing import Framed, Gap, masked_checksum


def frame(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return b"".join(
        [
            length,
            struct.pack("<I", masked_checksum(length)),
            record,
            struct.pack("<I", masked_checksum(record)),
        ]
    )


def frames(records: Iterable[bytes]) -> bytes:
    return b"".join(map(frame, records))


def offsets(records: Iterable[bytes]) -> list[int]:
    """Where each record's frame starts, in a file of all of them."""
    found = [0]
    for record in records:
        found.append(found[-1] + len(record) + 16)
    return found[:-1]


def read_range(
    data: bytes, start: int = 0, stop: int | None = None
) -> list[tuple[int, bytes | None]]:
    """What a range of a file gives, by offset; None for what is damaged."""
    rows: list[tuple[int, bytes | None]] = []
    for group in range_frames(io.BytesIO(data), "file", start, stop):
        if isinstance(group, Gap):
            rows.append((group.offset, None))
            continue
        assert isinstance(group, Framed)
        assert group.records
        sound = [
            None if position in group.damaged else record
            for position, record in enumerate(group.records)
        ]
        rows += zip(group.offsets.tolist(), sound, strict=True)
    return rows


def read_ranges(data: bytes, split_bytes: int) -> list[tuple[int, bytes | None]]:
    """What all ranges of a file give together."""
    count = max(1, -(-len(data) // split_bytes))
    bounds = [len(data) * index // count for index in range(count)]
    stops = [*bounds[1:], None]
    return [
        row
        for start, stop in zip(bounds, stops, strict=True)
        for row in read_range(data, start, stop)
    ]
