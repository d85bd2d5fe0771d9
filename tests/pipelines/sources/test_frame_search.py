from __future__ import annotations

import io
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.byte_ranges import ByteWindow
from pipelines.sources.frame_search import FrameSearch, sound_headers
from pipelines.sources.framing import masked_checksum, record_length
from tests.pipelines.sources.frames import frame, frames, offsets
from tests.pipelines.sources.reading import damaged


def search(data: bytes) -> FrameSearch:
    return FrameSearch(ByteWindow(io.BytesIO(data)))


def header(length: int) -> bytes:
    stored = struct.pack("<Q", length)
    return stored + struct.pack("<I", masked_checksum(stored))


PIECES = st.one_of(
    st.binary(max_size=30),
    st.integers(0, 2**32).map(header),
    st.integers(0, 2**64 - 1).map(header),
    st.integers(0, 40).map(bytes),
    st.lists(st.integers(0, 2**31), max_size=9).map(lambda numbers: np.int64(numbers).tobytes()),
)


@settings(max_examples=300)
@given(data=st.lists(PIECES, max_size=20).map(b"".join))
def test_finds_the_headers_that_a_plain_loop_finds(data):
    expected = [
        (at, length)
        for at in range(len(data))
        if (length := record_length(data[at : at + 12])) is not None
    ]
    found = sound_headers(data)
    assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == expected


@settings(max_examples=100)
@given(records=st.lists(st.binary(max_size=60), min_size=1, max_size=12), data=st.data())
def test_the_first_start_is_the_next_frame(records, data):
    starts = offsets(records)
    at = data.draw(st.integers(0, starts[-1]))
    assert search(frames(records)).first(at) == min(start for start in starts if start >= at)
    assert search(frames(records)).first(starts[-1] + 1) is None


def test_the_search_stops_before_its_end():
    records = [b"a" * 50, b"b" * 50]
    assert search(frames(records)).first(1, 66) is None
    assert search(frames(records)).first(1, 67) == 66


def test_frames_within_a_record_start_nothing():
    inner = frames([b"x" * 30] * 5)
    wrapped = b"before" + inner + b"between" + inner + b"behind"
    for record in (inner, wrapped, b"1" + frame(wrapped) + frame(b"") + b"2"):
        records = [b"a", record, b"b"]
        data, starts = frames(records), offsets(records)
        for at in range(starts[1] + 1, starts[2]):
            assert search(data).first(at) == starts[2]


def test_a_frame_before_damage_is_one_if_nothing_is_around_it():
    records = [b"a" * 30, b"b" * 30, b"c" * 30, b"d" * 30]
    starts = offsets(records)
    data = damaged(frames(records), [starts[2]])
    assert search(data).first(1) == starts[1]
    assert search(data).first(starts[1] + 1) == starts[3]


def test_a_damaged_record_starts_where_another_frame_follows_it():
    records = [b"a" * 30, b"b" * 30, b"c" * 30]
    starts = offsets(records)
    assert search(damaged(frames(records), [starts[1] + 20])).first(1) == starts[1]
    both = damaged(frames(records), [starts[1] + 20, starts[2]])
    assert search(both).first(1) is None


def test_the_border_is_where_the_next_range_begins():
    records = [b"a" * 30, b"b" * 30, b"c" * 30]
    starts = offsets(records)
    assert search(frames(records)).border(10, starts[1]) == starts[1]
    gap = damaged(frames(records), [starts[1]])
    assert search(gap).border(10, starts[1]) == search(gap).first(10) == starts[2]
    end = len(frames(records))
    assert search(frames(records)).border(starts[2] + 1, end) is None
