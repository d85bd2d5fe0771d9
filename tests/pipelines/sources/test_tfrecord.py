from __future__ import annotations

import gzip
import uuid
import zlib

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.base import BLOCK_BYTES, InputError, ReadRequest
from pipelines.sources.tfrecord import TFRecordSource
from pipelines.splits import InputFile, Split
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem
from tests.pipelines.sources.frames import frame, offsets
from tests.pipelines.sources.reading import (
    damaged,
    input_files,
    keeping_all,
    plan,
    read,
    read_file,
)
from transforms.engine.signature import TensorField

pytestmark = pytest.mark.usefixtures("logical_cpus")

X = TensorField("x", "float32", (3,))


def example(number: int) -> bytes:
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "id": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                "x": tf.train.Feature(
                    float_list=tf.train.FloatList(value=[number, number + 0.5, -number])
                ),
                "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"n%d" % number])),
            }
        )
    ).SerializeToString()


def write(path, records, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path


def raw(source, made, kept=()):
    return source.prepared(ReadRequest(made.schema, kept=kept, raw=True))


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz", "a"])
def test_reads_what_tensorflow_reads(tmp_path, compression, name):
    path = write(tmp_path / name, map(example, range(10_000)), compression)
    made = plan(TFRecordSource(), path)
    reading = read(raw(TFRecordSource(), made), made.splits[0])
    reference = tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator()
    assert reading.column("record") == list(reference)
    assert reading.column("_row") == list(range(10_000))
    assert (reading.failures, reading.total) == ([], 10_000)


def test_decodes_the_features_that_are_wanted(tmp_path):
    path = write(tmp_path / "a.tfrecord", map(example, range(5000)))
    source = TFRecordSource()
    made = plan(source, path)
    assert made.schema.names == ["id", "name", "x"]
    assert made.rows is None
    prepared = source.prepared(ReadRequest(made.schema, fed={"x": X}, kept=("id",)))
    assert prepared.block_schema().names == ["x", "id", "_source", "_row"]
    reading = read(prepared, made.splits[0])
    assert reading.column("id") == list(range(5000))
    np.testing.assert_array_equal(reading.column("x"), [[n, n + 0.5, -n] for n in range(5000)])


def test_decodes_beside_the_raw_record(tmp_path):
    path = write(tmp_path / "a.tfrecord", map(example, range(7)))
    made = plan(TFRecordSource(), path)
    reading = read(raw(TFRecordSource(), made, kept=("name",)), made.splits[0])
    assert reading.column("record") == list(map(example, range(7)))
    assert reading.column("name") == [b"n%d" % n for n in range(7)]


def test_records_of_anything_can_be_given_raw(tmp_path):
    records = [b"no example", b"\xff\xfe", b"x" * 1000]
    path = write(tmp_path / "a.tfrecord", records)
    made = plan(TFRecordSource(), path)
    assert read(raw(TFRecordSource(), made), made.splits[0]).column("record") == records


def test_a_record_that_does_not_decode_fails_alone(tmp_path):
    records = list(map(example, range(9)))
    records[4] = b"\xff\xff"
    path = write(tmp_path / "a.tfrecord", records)
    reading = read_file(TFRecordSource(), path)
    assert reading.column("_row") == reading.column("id") == [0, 1, 2, 3, 5, 6, 7, 8]
    [failure] = reading.failures
    assert failure[:3] == (str(path), 4, "decode")
    assert failure.data == records[4]


def test_lengths_seen_first_do_not_bind_inputs_of_free_length(tmp_path):
    def tokens(values):
        feature = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Example(
            features=tf.train.Features(feature={"tokens": feature})
        ).SerializeToString()

    lists = [[1]] * 600 + [[1, 2, 3], []]
    path = write(tmp_path / "a.tfrecord", map(tokens, lists))
    source = TFRecordSource()
    made = plan(source, path)
    free = TensorField("tokens", "int64", (None,))
    prepared = source.prepared(ReadRequest(made.schema, fed={"tokens": free}))
    reading = read(prepared, made.splits[0])
    assert [value or [] for value in reading.column("tokens")] == lists
    single = TensorField("tokens", "int64", (1,))
    prepared = source.prepared(ReadRequest(made.schema, fed={"tokens": single}))
    assert read(prepared, made.splits[0]).failed_rows == [600]


def test_damaged_bytes_cost_their_record(tmp_path):
    path = write(tmp_path / "a.tfrecord", map(example, range(6)))
    frame_bytes = len(example(0)) + 16
    path.write_bytes(damaged(path.read_bytes(), [2 * frame_bytes + 20]))
    reading = read_file(TFRecordSource(), path)
    assert reading.column("id") == [0, 1, 3, 4, 5]
    [failure] = reading.failures
    assert failure[:4] == (str(path), 2, "read", "ChecksumError")
    assert failure.data is None


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_a_cut_file_gives_the_records_before_it(tmp_path, compression):
    path = write(tmp_path / "a.tfrecord", map(example, range(5000)), compression)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.7)])
    reading = read_file(TFRecordSource(), path)
    assert reading.column("id") == list(range(len(reading.rows)))
    assert 0 < len(reading.rows) < 5000
    [failure] = reading.failures
    assert failure[:4] == (str(path), len(reading.rows), "read", "DamagedFileError")
    assert "the file is cut off" in failure.message


RECORDS = [example(number) for number in range(20)]


@settings(max_examples=80)
@given(
    flips=st.lists(st.integers(0, 10_000), max_size=4),
    cut=st.integers(0, 10_000) | st.none(),
    compression=st.sampled_from(["", "GZIP", "ZLIB"]),
    decode=st.booleans(),
)
def test_rows_add_up_whatever_happens_to_a_file(tmp_path, flips, cut, compression, decode):
    sound = write(tmp_path / "sound", RECORDS)
    data = sound.read_bytes()
    data = {"": bytes, "GZIP": gzip.compress, "ZLIB": zlib.compress}[compression](data)
    path = tmp_path / "damaged"
    path.write_bytes(damaged(data, [flip % len(data) for flip in flips], cut and cut % len(data)))
    source = TFRecordSource()
    made = plan(source, sound)
    prepared = keeping_all(source, made) if decode else raw(source, made)
    # The accounting itself is checked by `read`.
    reading = read(prepared, Split(0, (str(path),)))
    numbers = [row["id"] if decode else RECORDS.index(row["record"]) for row in reading.rows]
    # How many records a gap has swallowed is not known.
    gap = min((f.row for f in reading.failures if f.error == "DamagedFileError"), default=99)
    before = [row["_row"] for row in reading.rows if row["_row"] < gap]
    assert numbers[: len(before)] == before
    assert numbers == sorted(set(numbers))
    if path.read_bytes() == data:
        assert (len(reading.rows), reading.failures) == (20, [])


def test_large_records_make_small_blocks(tmp_path):
    records = [bytes([index]) * 3_000_000 for index in range(10)]
    path = write(tmp_path / "a.tfrecord", records)
    source = raw(TFRecordSource(), plan(TFRecordSource(), path))
    blocks = list(source.read(Split(0, (str(path),))))
    assert [len(block.batch.column("record")) for block in blocks] == [3, 3, 3, 1, 0]
    assert all(block.batch.nbytes < BLOCK_BYTES + 4_000_000 for block in blocks)


def test_empty_files_have_no_rows(tmp_path):
    empty = write(tmp_path / "a.tfrecord", [])
    zipped = write(tmp_path / "b.tfrecord.gz", [], "GZIP")
    made = plan(TFRecordSource(), empty, zipped)
    assert (made.rows, made.schema.names, len(made.splits)) == (0, [], 2)
    for split in made.splits:
        assert read(raw(TFRecordSource(), made), split).total == 0


def test_an_empty_file_beside_others_has_their_columns(tmp_path):
    empty = write(tmp_path / "a.tfrecord", [])
    filled = write(tmp_path / "b.tfrecord", map(example, range(3)))
    source = TFRecordSource()
    made = plan(source, empty, filled)
    first, second = (read(keeping_all(source, made), split) for split in made.splits)
    assert (first.total, second.column("id")) == (0, [0, 1, 2])


def test_features_of_all_sampled_files_are_columns(tmp_path):
    one = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))
    other = tf.train.Example(features=tf.train.Features(feature={"other": one}))
    first = write(tmp_path / "a.tfrecord", [example(1)])
    last = write(tmp_path / "b.tfrecord", [other.SerializeToString()])
    assert plan(TFRecordSource(), first, last).schema.names == ["id", "name", "other", "x"]


def test_unreadable_first_records_are_told_and_scored_as_failures(tmp_path, caplog):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"this is no TFRecord at all")
    made = plan(TFRecordSource(), path)
    assert str(path) in caplog.text
    reading = read(raw(TFRecordSource(), made), made.splits[0])
    assert (reading.rows, reading.failed_rows) == ([], [0])


def test_a_file_that_is_gone_is_an_error_of_the_job(tmp_path):
    source = raw(TFRecordSource(), plan(TFRecordSource()))
    with pytest.raises(FileNotFoundError):
        list(source.read(Split(0, (str(tmp_path / "none"),))))


def test_reserved_and_ambiguous_names_are_refused(tmp_path):
    one = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))

    def written(*names):
        features = tf.train.Features(feature=dict.fromkeys(names, one))
        record = tf.train.Example(features=features).SerializeToString()
        return write(tmp_path / "a.tfrecord", [record])

    with pytest.raises(InputError, match="Received: _row in"):
        plan(TFRecordSource(), written("x", "_row"))
    made = plan(TFRecordSource(), written("record", "x"))
    with pytest.raises(InputError, match="--keep with record"):
        raw(TFRecordSource(), made, kept=("record",))


def test_reads_from_other_filesystems(tmp_path):
    for compression in ("", "GZIP"):
        local = write(tmp_path / "a", map(example, range(50)), compression)
        path = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/a.tfrecord.gz"
        FILES[path] = local.read_bytes()
        source = TFRecordSource()
        made = source.plan([InputFile(path, len(FILES[path]))], 2**20)
        assert read(keeping_all(source, made), made.splits[0]).column("id") == list(range(50))


def test_no_files_are_no_splits():
    made = TFRecordSource().plan(input_files([]), 2**20)
    assert (made.splits, made.schema, made.rows) == ((), pa.schema([]), 0)


def test_large_files_are_cut_and_rows_are_their_offsets(tmp_path):
    small = write(tmp_path / "a.tfrecord", map(example, range(3)))
    large = write(tmp_path / "b.tfrecord", map(example, range(3, 2000)))
    packed = write(tmp_path / "c.tfrecord", map(example, range(2000, 6000)), "GZIP")
    packed_too = write(tmp_path / "d.tfrecord", map(example, range(6000, 9000)), "ZLIB")
    source = TFRecordSource()
    assert packed.stat().st_size > 10_000
    assert packed_too.stat().st_size > 10_000
    made = plan(source, small, large, packed, packed_too, split_bytes=10_000)
    count = -(-large.stat().st_size // 10_000)
    assert [split.files for split in made.splits] == [
        (str(small),), *[(str(large),)] * count, (str(packed),), (str(packed_too),)
    ]  # fmt: skip
    assert made.row_unit == "byte"
    readings = [read(raw(source, made, kept=("id",)), split) for split in made.splits]
    assert all(reading.total == len(reading.rows) > 0 for reading in readings)
    rows = [row for reading in readings for row in reading.rows]
    assert [row["id"] for row in rows] == list(range(9000))
    contents = {
        str(small): small.read_bytes(),
        str(large): large.read_bytes(),
        str(packed): gzip.decompress(packed.read_bytes()),
        str(packed_too): zlib.decompress(packed_too.read_bytes()),
    }
    for row in rows:
        data = contents[row["_source"]][row["_row"] :]
        assert data.startswith(frame(row["record"]))


def test_uncut_files_count_their_records(tmp_path):
    path = write(tmp_path / "a.tfrecord", map(example, range(200)))
    made = plan(TFRecordSource(), path, split_bytes=path.stat().st_size)
    assert (len(made.splits), made.row_unit) == (1, None)
    reading = read(raw(TFRecordSource(), made), made.splits[0])
    assert reading.column("_row") == list(range(200))


def test_failures_of_ranges_name_offsets(tmp_path):
    records = list(map(example, range(300)))
    records[150] = b"\xff\xff"
    starts = offsets(records)
    path = write(tmp_path / "a.tfrecord", records)
    source = TFRecordSource()
    made = plan(source, path, split_bytes=3000)
    path.write_bytes(damaged(path.read_bytes(), [starts[50] + 20, starts[100] + 3]))
    readings = [read(keeping_all(source, made), split) for split in made.splits]
    failures = [failure for reading in readings for failure in reading.failures]
    assert [failure[1:4] for failure in failures] == [
        (starts[50], "read", "ChecksumError"),
        (starts[100], "read", "DamagedFileError"),
        (starts[150], "decode", failures[2].error),
    ]
    found = {row["id"]: row["_row"] for reading in readings for row in reading.rows}
    assert found == {
        number: start for number, start in enumerate(starts) if number not in (50, 100, 150)
    }


def test_ranges_inside_a_long_record_are_splits_without_rows(tmp_path):
    path = write(tmp_path / "a.tfrecord", [b"first", bytes(50_000), b"last"])
    made = plan(TFRecordSource(), path, split_bytes=10_000)
    source = raw(TFRecordSource(), made)
    assert [read(source, split).total for split in made.splits] == [2, 0, 0, 0, 0, 1]


def test_a_file_of_something_else_is_one_failure_in_all_its_ranges(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(np.random.default_rng(1).bytes(50_000))
    made = plan(TFRecordSource(), path, split_bytes=10_000)
    source = raw(TFRecordSource(), made)
    assert [read(source, split).failed_rows for split in made.splits] == [[0], [], [], [], []]


def test_ranges_are_read_from_other_filesystems(tmp_path):
    local = write(tmp_path / "a", map(example, range(500)))
    path = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/a.tfrecord"
    FILES[path] = local.read_bytes()
    source = TFRecordSource()
    made = source.plan([InputFile(path, len(FILES[path]))], 5000)
    assert len(made.splits) > 5
    readings = [read(keeping_all(source, made), split) for split in made.splits]
    assert [row["id"] for reading in readings for row in reading.rows] == list(range(500))


@pytest.mark.parametrize("split_bytes", [2**20, 100])
@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_a_record_that_is_too_long_fails_alone(tmp_path, compression, split_bytes):
    records = [b"a", b"b" * 300, b"c", b"d" * 301]
    path = write(tmp_path / "a.tfrecord", records, compression)
    source = TFRecordSource(max_record_bytes=200)
    made = plan(source, path, split_bytes=split_bytes)
    readings = [read(raw(source, made), split) for split in made.splits]
    assert [row["record"] for reading in readings for row in reading.rows] == [b"a", b"c"]
    failures = [failure for reading in readings for failure in reading.failures]
    in_bytes = made.row_unit == "byte"
    assert [failure.row for failure in failures] == ([17, 350] if in_bytes else [1, 3])
    assert {failure[2:4] for failure in failures} == {("read", "RecordSizeError")}
    assert "--max_record_bytes" in failures[0].message
