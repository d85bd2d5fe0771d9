from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.framing import (
    Framed,
    Gap,
    LongRecord,
    framed,
    masked_checksum,
    record_length,
    regrouped,
)
from pipelines.sources.streams import DamagedFileError
from tests.pipelines.sources.frames import frame, frames, offsets
from tests.pipelines.sources.reading import damaged

pytestmark = pytest.mark.usefixtures("logical_cpus")


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def drained(frames: Iterator[Framed]) -> tuple[list[bytes], list[int], bool]:
    """Records, positions of damaged ones, and whether the end was damaged."""
    records: list[bytes] = []
    broken: list[int] = []
    try:
        for group in frames:
            broken += [len(records) + position for position in group.damaged]
            records += group.records
    except DamagedFileError:
        return records, broken, True
    return records, broken, False


def written(path, records) -> bytes:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path.read_bytes()


def test_frames_as_tensorflow_writes_them(tmp_path):
    records = [b"", b"a", bytes(1000), b"x" * 300_000, *(b"%d" % i for i in range(500))]
    data = written(tmp_path / "a", records)
    assert data == b"".join(map(frame, records))
    for size in (1, 13, 4096, len(data)):
        assert drained(framed(pieces(data, size), len(data))) == (records, [], False)
        assert drained(framed(pieces(data, size))) == (records, [], False)


def test_no_bytes_are_no_records():
    assert drained(framed([], 0)) == ([], [], False)
    assert drained(framed([b""], 0)) == ([], [], False)


def test_lengths_are_believed_with_their_checksum_only():
    header = frame(b"abc")[:12]
    assert record_length(header) == 3
    assert record_length(damaged(header, [1])) is None
    assert record_length(header[:11]) is None


def test_a_length_beyond_the_file_is_refused_before_it_is_read():
    length = struct.pack("<Q", 2**30)
    header = length + struct.pack("<I", masked_checksum(length))

    def chunks() -> Iterator[bytes]:
        yield frame(b"ok") + header
        pytest.fail("read on for a record that the file cannot hold")

    assert drained(framed(chunks(), size_bytes=200)) == ([b"ok"], [], True)


def test_an_absurd_length_is_damage():
    length = struct.pack("<Q", 2**60)
    header = length + struct.pack("<I", masked_checksum(length))
    assert drained(framed([frame(b"ok") + header + bytes(100)])) == ([b"ok"], [], True)


def test_a_damaged_record_does_not_hide_those_behind_it():
    data = bytearray(b"".join(map(frame, [b"aaa", b"bbb", b"ccc"])))
    data[19 + 12] ^= 1
    records, broken, is_damaged = drained(framed([bytes(data)], len(data)))
    assert [records[0], records[2]] == [b"aaa", b"ccc"]
    assert (broken, is_damaged) == ([1], False)


def test_damage_with_no_frame_behind_it_is_no_record():
    records = [b"aaa", b"bbb", b"ccc"]
    starts = offsets(records)
    data = damaged(frames(records), [starts[1] + 12, starts[2]])
    for size in (1, 7, 100):
        assert drained(framed(pieces(data, size), len(data))) == ([b"aaa"], [], True)
    at_the_end = damaged(frames(records), [starts[2] + 12])
    records, broken, is_damaged = drained(framed([at_the_end + bytes(5)], len(data) + 5))
    assert (records, broken, is_damaged) == ([b"aaa", b"bbb"], [], True)
    assert drained(framed([at_the_end], len(data)))[1:] == ([2], False)


@settings(max_examples=100)
@given(
    records=st.lists(st.binary(max_size=60), min_size=1, max_size=12),
    flips=st.lists(st.integers(0, 10_000), max_size=2),
    stop=st.integers(0, 700),
    size=st.integers(1, 400),
)
def test_a_stop_leaves_out_the_records_that_start_there(records, flips, stop, size):
    data = damaged(frames(records), [flip % len(frames(records)) for flip in flips])

    def rows(stop):
        found = []
        chunks = pieces(data, size)
        try:
            for group in framed(chunks, len(data) + 100, 100, stop):
                found += group.offsets.tolist()
                assert found[-1] + len(group.records[-1]) + 16 == group.end
        except DamagedFileError:
            pass
        return found

    assert rows(100 + stop) == [row for row in rows(None) if row < 100 + stop]


@settings(max_examples=150)
@given(
    records=st.lists(st.binary(max_size=60), min_size=1, max_size=12),
    flips=st.lists(st.integers(0, 10_000), max_size=3),
    cut=st.integers(0, 10_000) | st.none(),
    size=st.integers(1, 400),
)
def test_any_damage_leaves_sound_records_in_order(records, flips, cut, size):
    data = b"".join(map(frame, records))
    broken_data = damaged(data, [flip % len(data) for flip in flips], cut and cut % len(data))
    got, broken, is_damaged = drained(framed(pieces(broken_data, size), len(broken_data)))
    sound = [record for index, record in enumerate(got) if index not in broken]
    assert all(got[index] == records[index] for index in range(len(got)) if index not in broken)
    assert len(sound) <= len(records)
    if broken_data == data:
        assert (got, broken, is_damaged) == (records, [], False)
    elif broken_data != b"".join(map(frame, records[: len(got)])):
        assert is_damaged or broken


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 9), max_size=20),
    rows=st.integers(1, 12),
    size_bytes=st.integers(1, 60),
)
def test_regrouping_keeps_records_order_and_damage(sizes, rows, size_bytes):
    generator = np.random.default_rng(len(sizes))
    frames = [
        Framed(
            [bytes([index, item]) for item in range(size)],
            [item for item in range(size) if generator.random() < 0.3],
        )
        for index, size in enumerate(sizes)
    ]
    groups = list(regrouped(iter(frames), rows, size_bytes))
    assert drained(iter(groups)) == drained(iter(frames))
    assert all(0 < len(group.records) <= rows for group in groups)
    small = all(len(group.records) == rows for group in groups[:-1])
    assert small or size_bytes <= 2 * rows


def test_regrouping_keeps_offsets_and_gaps_in_their_place():
    def stream():
        yield Framed([b"a", b"bb", b"c"], [1], 100)
        yield Framed([b"d"], [], 152)
        yield Gap(169, "broken")
        yield Framed([b"e"], [], 200)

    groups = list(regrouped(stream(), 2, 1000))
    assert groups == [
        Framed([b"a", b"bb"], [1], 100),
        Framed([b"c", b"d"], [], 135),
        Gap(169, "broken"),
        Framed([b"e"], [], 200),
    ]
    assert groups[1].offsets.tolist() == [135, 152]


@settings(max_examples=150)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    most=st.integers(0, 60),
    size=st.integers(1, 400),
    stop=st.none() | st.integers(1, 900),
    knows_size=st.booleans(),
)
def test_records_that_are_too_long_are_passed_by(sizes, most, size, stop, knows_size):
    records = [bytes([index]) * length for index, length in enumerate(sizes)]
    data = frames(records)
    found: dict[int, bytes | None] = {}
    end = 0
    for group in framed(pieces(data, size), len(data) if knows_size else None, 0, stop, most):
        if isinstance(group, LongRecord):
            found[group.offset] = None
        else:
            found.update(zip(group.offsets.tolist(), group.records, strict=True))
            assert not group.damaged
        end = group.end
    expected = {
        offset: record if len(record) <= most else None
        for offset, record in zip(offsets(records), records, strict=True)
        if stop is None or offset < stop
    }
    assert found == expected
    last = max(expected)
    assert end == last + 16 + len(records[offsets(records).index(last)])


def test_a_long_record_is_not_held():
    length = struct.pack("<Q", 2**31 - 1)
    held = [frame(b"ok"), length + struct.pack("<I", masked_checksum(length))]
    chunk = bytes(2**20)

    def chunks() -> Iterator[bytes]:
        yield from held
        for _ in range(2**11 - 1):
            yield chunk
        yield chunk[1:] + bytes(4) + frame(b"behind")

    tracemalloc.start()
    try:
        found = list(framed(chunks(), max_record_bytes=1000))
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert [type(item) for item in found] == [Framed, LongRecord, Framed]
    assert peak < 8 * 2**20


def test_a_long_record_that_is_cut_off_is_damage_once():
    data = frames([b"a", b"b" * 100])
    found = framed(pieces(data[:-1], 10), max_record_bytes=50)
    assert next(found) == Framed([b"a"], [])
    with pytest.raises(DamagedFileError, match="the record at byte 17 is not complete"):
        next(found)
