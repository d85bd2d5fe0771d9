from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import parquet
from pipelines.sources.base import BLOCK_BYTES, BLOCK_ROWS, InputError, ReadRequest
from pipelines.sources.parquet import ParquetSource
from pipelines.splits import InputFile, Split
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem
from tests.pipelines.sources.reading import damaged, input_files, keeping_all, plan, read

ROWS = 10_000


def table(rows=ROWS, first=0):
    numbers = np.arange(first, first + rows)
    values = np.random.default_rng(0).random(rows * 4).astype(np.float32)
    return pa.table(
        {
            "id": numbers,
            "x": pa.FixedSizeListArray.from_arrays(values, 4),
            "lists": pa.array([[number] * (number % 3) for number in numbers.tolist()]),
            "name": pa.array([f"n{number % 7}" for number in numbers.tolist()]),
            "kind": pa.array([b"a", None] * (rows // 2)),
        }
    )


def write(path, content, row_group_rows=1000, **options):
    pq.write_table(content, path, row_group_size=row_group_rows, **options)
    return path


def test_reads_what_pyarrow_reads(tmp_path):
    path = write(tmp_path / "a.parquet", table())
    source = ParquetSource()
    made = plan(source, path)
    assert (made.rows, len(made.splits)) == (ROWS, 1)
    assert made.schema == pq.read_schema(path)
    reading = read(keeping_all(source, made), made.splits[0])
    assert reading.column("_row") == list(range(ROWS))
    own = [{name: row[name] for name in made.schema.names} for row in reading.rows]
    assert own == pq.read_table(path).to_pylist()


@pytest.mark.parametrize("split_bytes", [1, 100_000, 2**30])
def test_files_are_cut_at_row_groups(tmp_path, split_bytes):
    paths = [
        write(tmp_path / f"{index}.parquet", table(first=index * ROWS), 1500) for index in range(2)
    ]
    source = ParquetSource()
    made = plan(source, *paths, split_bytes=split_bytes)
    sizes = [path.stat().st_size for path in paths]
    assert len(made.splits) == {1: 14, 2**30: 2}.get(split_bytes, len(made.splits))
    assert all(split.size_bytes <= max(split_bytes, max(sizes) // 3) for split in made.splits)
    assert sum(split.size_bytes for split in made.splits) == pytest.approx(sum(sizes), rel=0.1)
    rows = [row for split in made.splits for row in read(keeping_all(source, made), split).rows]
    assert [row["id"] for row in rows] == list(range(2 * ROWS))
    assert [row["_row"] for row in rows] == [*range(ROWS), *range(ROWS)]
    assert [row["_source"] for row in rows] == [str(p) for p in paths for _ in range(ROWS)]


def test_only_wanted_columns_are_read(tmp_path):
    content = pa.table({"a.b": [1, 2], "a": [3, 4], "s": [{"u": 1}, {"u": 2}]})
    path = write(tmp_path / "a.parquet", content)
    source = ParquetSource()
    made = plan(source, path)
    for names in (["s", "a"], ["a.b"], []):
        prepared = source.prepared(ReadRequest(made.schema, kept=tuple(names)))
        reading = read(prepared, made.splits[0])
        assert reading.rows == [
            {name: row[name] for name in names} | {"_source": str(path), "_row": index}
            for index, row in enumerate(content.to_pylist())
        ]


def test_blocks_are_bounded(tmp_path):
    narrow = write(tmp_path / "a.parquet", pa.table({"x": np.zeros(50_000)}), 50_000)
    wide = write(tmp_path / "b.parquet", pa.table({"x": np.random.rand(300, 10_000).tolist()}), 300)
    packed = write(tmp_path / "c.parquet", pa.table({"x": ["y" * 50_000] * 3000}), 3000)
    source = ParquetSource()
    for path in (narrow, wide, packed):
        made = plan(source, path)
        blocks = list(keeping_all(source, made).read(made.splits[0]))
        assert len(blocks) > 3
        for block in blocks:
            assert block.batch.num_rows <= BLOCK_ROWS
            assert block.batch.get_total_buffer_size() > 0 or not block.batch.num_rows
            assert block.batch.nbytes <= 2.2 * BLOCK_BYTES


def test_files_of_other_widths_and_orders_are_brought_to_the_first(tmp_path):
    first = write(tmp_path / "a.parquet", pa.table({"id": [1], "x": [[1.5]]}))
    narrow = {"x": pa.array([[2.5]], pa.list_(pa.float32(), 1)), "id": pa.array([2], pa.int8())}
    second = write(tmp_path / "b.parquet", pa.table(narrow))
    source = ParquetSource()
    made = plan(source, first, second)
    rows = [row for split in made.splits for row in read(keeping_all(source, made), split).rows]
    assert [(row["id"], row["x"]) for row in rows] == [(1, [1.5]), (2, [2.5])]


def test_values_beyond_the_planned_type_fail_alone(tmp_path):
    first = write(tmp_path / "a.parquet", pa.table({"id": pa.array([1], pa.int32())}))
    second = write(tmp_path / "b.parquet", pa.table({"id": [5, 2**40, 6]}))
    source = ParquetSource()
    made = plan(source, first, second)
    reading = read(keeping_all(source, made), made.splits[1])
    assert [(row["_row"], row["id"]) for row in reading.rows] == [(0, 5), (2, 6)]
    [failure] = reading.failures
    assert failure[:3] == (str(second), 1, "decode")
    assert "'id' as int32" in failure.message


def test_times_of_far_years_are_in_the_copies_of_failed_rows(tmp_path):
    at = pa.array([2**62, 1, 2], pa.timestamp("us"))
    ids = pa.array([5, 6, 7], pa.int8())
    first = write(tmp_path / "a.parquet", pa.table({"id": ids, "at": at}))
    second = write(tmp_path / "b.parquet", pa.table({"id": [1000, 6, 7], "at": at}))
    source = ParquetSource()
    made = plan(source, first, second)
    reading = read(keeping_all(source, made), made.splits[1])
    assert [failure.data for failure in reading.failures] == [{"id": None, "at": 2**62}]
    assert reading.column("id") == [6, 7]


def test_text_that_is_no_utf_8_fails_alone(tmp_path):
    text = pa.array([b"ok", b"\xff", b"fine"]).view(pa.string())
    path = write(tmp_path / "a.parquet", pa.table({"id": [0, 1, 2], "text": text}))
    source = ParquetSource()
    made = plan(source, path)
    reading = read(keeping_all(source, made), made.splits[0])
    assert reading.column("text") == ["ok", "fine"]
    assert reading.failures[0].data == {"id": 1, "text": None}


@pytest.mark.parametrize("planned", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("stored", [
    pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()),
])  # fmt: skip
def test_text_that_is_no_utf_8_fails_alone_in_every_form(tmp_path, planned, stored):
    text = pa.array([b"ok", b"\xff", b"fine"]).view(pa.string())
    text = text.dictionary_encode() if pa.types.is_dictionary(stored) else text.cast(stored)
    first = write(tmp_path / "a.parquet", pa.table({"text": pa.array(["x"], planned)}))
    second = write(tmp_path / "b.parquet", pa.table({"text": text}))
    source = ParquetSource()
    made = plan(source, first, second)
    reading = read(keeping_all(source, made), made.splits[1])
    assert reading.column("text") == ["ok", "fine"]
    assert reading.failed_rows == [1]


def test_lists_with_text_that_is_no_utf_8_fail_alone(tmp_path):
    text = pa.array([b"ok", b"\xff", b"fine"]).view(pa.string())
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), text)
    path = write(tmp_path / "a.parquet", pa.table({"id": [0, 1, 2], "text": lists}))
    source = ParquetSource()
    made = plan(source, path)
    reading = read(keeping_all(source, made), made.splits[0])
    assert reading.column("text") == [["ok"], ["fine"]]
    assert reading.failures[0].data == {"id": 1, "text": None}


@pytest.mark.parametrize(
    ("content", "words"),
    [({"id": [1, 2]}, "without it"), ({"id": [1, 2], "x": ["a", "b"]}, "Received: string")],
)
def test_rows_of_files_with_other_columns_all_fail(tmp_path, caplog, content, words):
    first = write(tmp_path / "a.parquet", pa.table({"id": [0], "x": [1.5]}))
    second = write(tmp_path / "b.parquet", pa.table(content))
    source = ParquetSource()
    made = plan(source, first, second)
    assert "1 of 2 files have other columns than the first" in caplog.text
    assert f"{second}: expected column 'x' as double" in caplog.text
    reading = read(keeping_all(source, made), made.splits[1])
    assert (reading.rows, reading.failed_rows) == ([], [0, 1])
    assert all(failure.stage == "read" for failure in reading.failures)
    assert "expected column 'x' as double" in reading.failures[0].message
    assert words in reading.failures[0].message


def test_a_row_group_that_cannot_be_read_fails_row_by_row(tmp_path):
    path = write(
        tmp_path / "a.parquet", table(), 5000, use_dictionary=False, write_page_checksum=True
    )
    source = ParquetSource()
    made = plan(source, path)
    chunk = pq.read_metadata(path).row_group(0).column(1)
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    path.write_bytes(damaged(path.read_bytes(), [middle]))
    reading = read(keeping_all(source, made), made.splits[0])
    assert reading.total == ROWS
    failed = reading.failed_rows
    assert failed
    assert failed == list(range(failed[0], 5000))
    assert reading.column("_row") == reading.column("id")


@settings(max_examples=80)
@given(
    flips=st.lists(st.floats(0, 1, exclude_max=True), max_size=3),
    cut=st.floats(0, 1, exclude_max=True) | st.none(),
    compression=st.sampled_from(["none", "snappy", "zstd"]),
)
def test_rows_add_up_whatever_happens_to_a_file(tmp_path, flips, cut, compression):
    sound = write(
        tmp_path / "sound.parquet", table(200), 50, compression=compression,
        write_page_checksum=True, store_schema=False,
    )  # fmt: skip
    source = ParquetSource()
    made = plan(source, sound)
    data = sound.read_bytes()
    path = tmp_path / "damaged.parquet"
    length = None if cut is None else int(cut * len(data))
    path.write_bytes(damaged(data, [int(flip * len(data)) for flip in flips], length))
    # The accounting itself is checked by `read`.
    reading = read(keeping_all(source, made), Split(0, (str(path),)))
    if path.read_bytes() == data:
        assert (len(reading.rows), reading.failures) == (200, [])
    if length is not None:
        assert (reading.rows, reading.failed_rows) == ([], [0])


def test_files_without_a_footer_are_one_failure(tmp_path, caplog):
    first = tmp_path / "a.parquet"
    first.write_bytes(b"no Parquet")
    second = write(tmp_path / "b.parquet", table(10))
    source = ParquetSource()
    made = plan(source, first, second)
    assert (made.rows, made.schema) == (None, pq.read_schema(second))
    assert str(first) in caplog.text
    readings = [read(keeping_all(source, made), split) for split in made.splits]
    assert [(len(reading.rows), reading.failed_rows) for reading in readings] == [
        (0, [0]),
        (10, []),
    ]
    with pytest.raises(InputError, match="none with a readable footer"):
        plan(source, first)


def test_of_many_files_only_large_ones_are_opened_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_MAX_FOOTERS", 2)
    small = [write(tmp_path / f"{index}.parquet", table(10)) for index in range(3)]
    large = write(tmp_path / "large.parquet", table())
    opened = []
    read_footer = parquet.read_footer
    monkeypatch.setattr(
        parquet, "read_footer", lambda file: opened.append(file.path) or read_footer(file)
    )
    made = plan(ParquetSource(), *small, large, split_bytes=large.stat().st_size // 3)
    assert opened == [str(small[0]), str(large)]
    assert made.rows is None
    assert len(made.splits) > 4


def test_files_without_rows_keep_their_columns(tmp_path):
    path = write(tmp_path / "a.parquet", table(0))
    none = pa.table({"x": pa.array([], pa.int64())})
    pq.ParquetWriter(tmp_path / "b.parquet", none.schema).close()
    source = ParquetSource()
    for file in (path, tmp_path / "b.parquet"):
        made = plan(source, file)
        assert (made.rows, made.schema) == (0, pq.read_schema(file))
        assert read(keeping_all(source, made), made.splits[0]).total == 0


WHY = {"_source": ["s"], "_row": [7], "_stage": ["infer"], "_error": ["E"], "_message": ["m"]}


def test_failed_rows_can_be_read_again(tmp_path):
    path = write(tmp_path / "a.parquet", pa.table({"x": [1.5]} | WHY))
    source = ParquetSource()
    made = plan(source, path)
    assert made.schema.names == ["x"]
    [row] = read(keeping_all(source, made), made.splits[0]).rows
    assert row == {"x": 1.5, "_source": str(path), "_row": 0}


@pytest.mark.parametrize("names", [["_source"], ["_row", "_stage"], ["_source", "_row"]])
def test_reserved_columns_are_refused(tmp_path, names):
    path = write(tmp_path / "a.parquet", pa.table({"x": [1]} | {n: WHY[n] for n in names}))
    with pytest.raises(InputError, match="Rename or drop them"):
        plan(ParquetSource(), path)


def test_columns_of_one_name_are_refused(tmp_path):
    content = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"])
    path = write(tmp_path / "a.parquet", content)
    with pytest.raises(InputError, match="'x' 2 times"):
        plan(ParquetSource(), path)


def test_a_file_that_is_gone_is_an_error_of_the_job(tmp_path):
    path = write(tmp_path / "a.parquet", table(10))
    source = ParquetSource()
    made = plan(source, path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(keeping_all(source, made).read(made.splits[0]))


def test_reads_from_other_filesystems(tmp_path):
    local = write(tmp_path / "a.parquet", table())
    path = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/a.parquet"
    FILES[path] = local.read_bytes()
    source = ParquetSource()
    made = source.plan([InputFile(path, len(FILES[path]))], 50_000)
    assert len(made.splits) > 1
    ids = [
        number
        for split in made.splits
        for number in read(keeping_all(source, made), split).column("id")
    ]
    assert ids == list(range(ROWS))


def test_no_files_are_no_splits():
    made = ParquetSource().plan(input_files([]), 2**20)
    assert (made.splits, made.schema, made.rows) == ((), pa.schema([]), 0)
