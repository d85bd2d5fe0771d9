from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.base import InputError
from pipelines.sources.frame_ranges import range_frames
from pipelines.sources.frame_search import WALK_BYTES
from tests.pipelines.sources.frames import frame, frames, offsets, read_range, read_ranges
from tests.pipelines.sources.reading import damaged

FLAT = st.binary(max_size=60)


def around(children: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Records that hold whole TFRecords, between bytes of their own."""
    parts = st.tuples(st.binary(max_size=20), st.lists(children, max_size=6).map(frames))
    return st.tuples(st.lists(parts, max_size=2), st.binary(max_size=20)).map(
        lambda made: b"".join(prefix + inner for prefix, inner in made[0]) + made[1]
    )


NESTED = st.recursive(FLAT, around, max_leaves=12)


@settings(max_examples=300)
@given(records=st.lists(NESTED, max_size=12), split_bytes=st.integers(1, 700))
def test_ranges_give_each_record_once_at_its_offset(records, split_bytes):
    data = frames(records)
    assert read_ranges(data, split_bytes) == list(zip(offsets(records), records, strict=True))


@settings(max_examples=300)
@given(
    records=st.lists(FLAT, min_size=1, max_size=20),
    flips=st.lists(st.integers(0, 10_000), max_size=5),
    hole=st.tuples(st.integers(0, 10_000), st.integers(0, 60)) | st.none(),
    cut=st.integers(0, 10_000) | st.none(),
    split_bytes=st.integers(1, 700),
)
def test_ranges_of_a_damaged_file_give_what_the_whole_gives(records, flips, hole, cut, split_bytes):
    data = frames(records)
    data = damaged(data, [flip % len(data) for flip in flips], cut and cut % len(data))
    if hole is not None:
        data = data[: hole[0] % (len(data) + 1)] + data[hole[0] % (len(data) + 1) + hole[1] :]
    whole = read_range(data)
    assert read_ranges(data, split_bytes) == whole
    sound = [record for _, record in whole if record is not None]
    assert all(record in records for record in sound)
    assert [offset for offset, _ in whole] == sorted({offset for offset, _ in whole})
    # What is there undamaged is read, wherever else the file is damaged.
    for record in set(records):
        if len(record) > 8:
            assert sound.count(record) == data.count(frame(record))


@settings(max_examples=300)
@given(
    records=st.lists(NESTED, min_size=1, max_size=8),
    flips=st.lists(st.integers(0, 10_000), max_size=3),
    cut=st.integers(0, 10_000) | st.none(),
    split_bytes=st.integers(1, 700),
)
def test_damage_near_records_of_records_is_read_alike_or_refused(records, flips, cut, split_bytes):
    data = frames(records)
    data = damaged(data, [flip % len(data) for flip in flips], cut and cut % len(data))
    try:
        assert read_ranges(data, split_bytes) == read_range(data)
    except InputError:
        assert data != frames(records)


def test_a_record_longer_than_ranges_leaves_them_empty():
    records = [b"a", bytes(5000), b"b"]
    data = frames(records)
    split = -(-len(data) // 10)
    counts = [len(read_range(data, at, at + split)) for at in range(0, 9 * split, split)]
    assert counts == [2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert read_range(data, 9 * split) == [(5033, b"b")]


def test_numbers_that_look_like_lengths_start_no_record():
    generator = np.random.default_rng(5)
    records = [
        generator.integers(0, 3000, 4000, np.int64).tobytes(),
        np.zeros(4000, np.float32).tobytes(),
        generator.integers(0, 2**16, 4000, np.uint32).tobytes(),
        frame(b"")[:12] * 100,
    ] * 5
    expected = list(zip(offsets(records), records, strict=True))
    assert read_ranges(frames(records), 10_000) == expected


def test_damage_just_behind_a_border_belongs_to_the_range_before():
    records = [b"%d" % index * 20 for index in range(6)]
    starts = offsets(records)
    data = damaged(frames(records), [starts[2], starts[3] + 1])
    first = read_range(data, 0, starts[2] - 1)
    assert first == [(0, records[0]), (starts[1], records[1]), (starts[2], None)]
    rest = read_range(data, starts[2] - 1)
    assert rest == [(starts[4], records[4]), (starts[5], records[5])]


def test_a_writer_that_began_anew_in_the_middle_of_a_record_costs_that_record():
    records = [b"%d" % index * 30 for index in range(8)]
    half = frames(records[:4])[:-20]
    data = half + frames(records[4:])
    rows = read_range(data)
    assert [record for _, record in rows] == [*records[:3], None, *records[4:]]
    for split_bytes in range(1, len(data)):
        assert read_ranges(data, split_bytes) == rows


def test_a_damaged_record_with_damage_behind_it_is_one_gap():
    records = [b"a" * 30, b"b" * 30, b"c" * 30, b"d" * 30]
    starts = offsets(records)
    data = damaged(frames(records), [starts[1] + 20, starts[2] + 3])
    assert read_range(data) == [(0, records[0]), (starts[1], None), (starts[3], records[3])]


def inner_records(size_bytes: int) -> bytes:
    return frames(bytes([index % 251]) * 2**18 for index in range(size_bytes // 2**18))


def test_records_of_many_megabytes_of_records_are_read_right():
    records = [b"a", inner_records(WALK_BYTES - 2**19) + b"end", b"b", b"c"]
    data = frames(records)
    stop = 2**18
    expected = list(zip(offsets(records), records, strict=True))
    assert read_range(data, 0, stop) + read_range(data, stop) == expected


def test_a_record_that_cannot_be_told_from_its_own_records_is_refused():
    data = frames([b"a", inner_records(WALK_BYTES + 2**21), b"b"])
    with pytest.raises(InputError, match=f"--split_bytes {len(data)}"):
        read_range(data, 0, 2**18)
    assert len(read_range(data)) == 3


def test_a_file_that_became_shorter_than_the_plan_is_refused():
    data = frames([b"abc"] * 100)
    for start, stop in ((2000, None), (0, 2000), (1000, 2000)):
        with pytest.raises(InputError, match="as when the job was planned. Received: 1900"):
            read_range(data, start, stop)


class Recording(io.BytesIO):
    """Knows which of its bytes have been read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges: list[tuple[int, int]] = []

    def read(self, size=-1):
        start = self.tell()
        data = super().read(size)
        self.ranges.append((start, self.tell()))
        return data


def test_little_more_than_the_range_is_read():
    data = frames([bytes(20_000)] * 5000)
    start, stop = 40 * 2**20 + 7, 80 * 2**20 + 7
    handle = Recording(data)
    count = sum(len(group.records) for group in range_frames(handle, "file", start, stop))
    assert abs(count - (stop - start) / 20_016) <= 1
    assert min(first for first, _ in handle.ranges) == start
    assert max(last for _, last in handle.ranges) < stop + 2**18
    assert sum(last - first for first, last in handle.ranges) < stop - start + 2**18
