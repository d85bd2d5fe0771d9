from __future__ import annotations

import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.base import SourcePlan
from pipelines.sources.byte_ranges import cut_files, range_chunks
from pipelines.splits import InputFile, Split, whole_files


@given(
    sizes=st.lists(st.integers(0, 5000), max_size=8),
    split_bytes=st.integers(1, 3000),
    whole=st.sets(st.integers(0, 7)),
)
def test_ranges_cover_each_file_once_and_evenly(sizes, split_bytes, whole):
    files = [InputFile(f"/in/{index}", size) for index, size in enumerate(sizes)]
    asked = []

    def can_cut(file):
        asked.append(file)
        return int(file.path.rpartition("/")[2]) not in whole

    splits = cut_files(files, split_bytes, can_cut)
    assert [split.index for split in splits] == list(range(len(splits)))
    large = [file for file in files if file.size_bytes > split_bytes]
    assert sorted(asked, key=files.index) == large
    assert list(dict.fromkeys(split.files for split in splits)) == [(file.path,) for file in files]
    for index, file in enumerate(files):
        own = [split for split in splits if split.files == (file.path,)]
        assert [split.start for split in own] == [0, *(split.stop for split in own[:-1])]
        assert own[-1].stop is None
        assert sum(split.size_bytes for split in own) == file.size_bytes
        if file.size_bytes > split_bytes and index not in whole:
            assert len(own) == -(-file.size_bytes // split_bytes)
            assert max(split.size_bytes for split in own) <= split_bytes
            assert min(split.size_bytes for split in own) >= file.size_bytes // len(own)
        else:
            assert len(own) == 1


def test_one_cut_file_makes_all_rows_of_a_job_byte_offsets():
    files = [InputFile("/in/a", 10), InputFile("/in/b", 30)]
    cut = cut_files(files, 10, lambda file: True)
    assert [split.byte_rows for split in cut] == [True] * 4
    assert SourcePlan(cut, pa.schema([])).row_unit == "byte"
    whole = cut_files(files, 10, lambda file: False)
    assert whole == whole_files(files)
    assert SourcePlan(whole, pa.schema([])).row_unit is None
    assert [Split.from_json(split.to_json()) for split in cut] == list(cut)


def test_plans_made_before_files_were_cut_still_load():
    values = Split(3, ("/in/a",)).to_json()
    del values["byte_rows"]
    assert Split.from_json(values) == Split(3, ("/in/a",))


class Counting(io.BytesIO):
    """Knows how far it was read."""

    furthest = 0

    def read(self, size=-1):
        data = super().read(size)
        self.furthest = max(self.furthest, self.tell())
        return data


@given(
    size=st.integers(0, 500_000),
    start=st.integers(0, 500_000),
    length=st.integers(0, 500_000) | st.none(),
    chunk_bytes=st.integers(10_000, 300_000),
)
def test_a_range_is_read_in_chunks_that_end_with_it(size, start, length, chunk_bytes):
    data = bytes(index * 7 % 251 for index in range(1000)) * (size // 1000)
    stop = None if length is None else start + length
    chunks = list(range_chunks(io.BytesIO(data), start, stop, chunk_bytes))
    assert b"".join(chunks) == data[start:]
    assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)
    if stop is not None and start < stop < len(data):
        assert stop - start in {sum(map(len, chunks[:n])) for n in range(len(chunks) + 1)}


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_no_more_is_read_than_is_asked_for(asked):
    handle = Counting(bytes(10 * 2**20))
    chunks = range_chunks(handle, 2**20, 2 * 2**20)
    for _ in range(asked):
        next(chunks)
    assert handle.furthest == 2 * 2**20 + [0, 2**16, 3 * 2**16][asked - 1]
