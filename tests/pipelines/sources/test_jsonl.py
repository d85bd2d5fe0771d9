from __future__ import annotations

import gzip
import json
import math
import uuid

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.base import InputError, ReadRequest
from pipelines.sources.json_rows import infer_schema, parse_lines
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.splits import InputFile, Split
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem
from tests.pipelines.sources.reading import damaged, input_files, keeping_all, plan, read, read_file
from transforms.engine.signature import TensorField

BLOCK_ROWS = 4096
ROWS = [
    {"id": number, "x": [number / 2] * (number % 4), "name": f"n{number}é", "on": number % 2 == 0}
    for number in range(9000)
]


def write(path, rows, compress=bytes):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_bytes(compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def own(reading):
    return [{name: value for name, value in row.items() if name[0] != "_"} for row in reading.rows]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_reads_what_the_standard_library_reads(tmp_path, compress):
    path = write(tmp_path / "a.jsonl", ROWS, compress)
    reading = read_file(JsonLinesSource(), path)
    assert own(reading) == ROWS
    assert reading.column("_row") == list(range(len(ROWS)))
    assert reading.failures == []


def test_types_are_found(tmp_path):
    made = plan(JsonLinesSource(), write(tmp_path / "a.jsonl", ROWS))
    assert made.schema == pa.schema(
        [("id", pa.int64()), ("x", pa.list_(pa.float64())), ("name", pa.string()),
         ("on", pa.bool_())]
    )  # fmt: skip


def test_missing_members_are_null_and_unknown_ones_passed_over(tmp_path):
    rows = [{"a": 1, "b": "x"}, {"b": None}, {}, {"a": None, "c": [[1, 2], [3]]}]
    path = write(tmp_path / "a.jsonl", rows)
    reading = read_file(JsonLinesSource(), path)
    assert own(reading) == [
        {"a": row.get("a"), "b": row.get("b"), "c": row.get("c")} for row in rows
    ]
    source = JsonLinesSource()
    made = plan(source, path)
    only_b = source.prepared(ReadRequest(made.schema, kept=("b",)))
    assert own(read(only_b, made.splits[0])) == [{"b": row.get("b")} for row in rows]
    nothing = source.prepared(ReadRequest(made.schema))
    assert read(nothing, made.splits[0]).column("_row") == [0, 1, 2, 3]


BAD_LINES = [
    "no json",
    '{"id": 1',
    "[1]",
    "7",
    '{"id": "text"}',
    '{"id": 1.5}',
    '{"id": 1, "id": 2}',
    '{"id": 1} {"id": 2}',
    '{"id": 1}, {"id": 2}',
    '{"id": 99999999999999999999}',
    '{"name": "\\ud800"}',
    '{"id": [1]}',
    '{"x": 1}',
    '{"x": [[1]]}',
    '{"id": 1,}',
    '{"id":',
    "3}",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_fails_alone(tmp_path, line):
    path = write(tmp_path / "a.jsonl", [*ROWS[:5], line, *ROWS[6:9]])
    source = JsonLinesSource()
    made = plan(source, write(tmp_path / "sound.jsonl", ROWS[:9]))
    reading = read(keeping_all(source, made), Split(0, (str(path),)))
    assert own(reading) == ROWS[:5] + ROWS[6:9]
    [failure] = reading.failures
    assert failure[:4] == (str(path), 5, "decode", "JsonError")
    assert failure.data == line.encode()


def test_bad_lines_do_not_lean_on_each_other(tmp_path):
    # Taken together they are as many values as lines, though not on the same lines.
    rows = [*ROWS[:100], '{"id": 100}{"id": 101}', '{"id":', "102}", *ROWS[103:110]]
    path = write(tmp_path / "a.jsonl", rows)
    reading = read_file(JsonLinesSource(), path)
    assert reading.failed_rows == [100, 101, 102]
    assert reading.column("id") == reading.column("_row")


@settings(max_examples=60)
@given(st.lists(st.sampled_from(BAD_LINES) | st.integers(0, 99), max_size=30))
def test_what_becomes_of_a_line_does_not_hang_on_its_neighbours(items):
    schema = pa.schema([("id", pa.int64()), ("x", pa.list_(pa.float64()))])
    lines = [
        item.encode() if isinstance(item, str) else b'{"id": %d, "x": [%d.5]}' % (item, item)
        for item in items
    ]
    batch, errors = parse_lines(lines, schema)
    alone = [parse_lines([line], schema) for line in lines]
    assert batch.to_pylist() == [row for one, _ in alone for row in one.to_pylist()]
    assert errors == [
        found[0]._replace(position=position) for position, (_, found) in enumerate(alone) if found
    ]


def test_blank_lines_windows_ends_and_marks_are_not_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\r\n{"id": 0}\r\n\r\n  \n {"id": 1} \r\n{"id": 2}')
    reading = read_file(JsonLinesSource(), path)
    assert reading.column("id") == reading.column("_row") == [0, 1, 2]


def test_text_that_is_no_utf_8_fails_alone(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"name": "a"}\n{"name": "\xff"}\n{"name": "b"}\n')
    reading = read_file(JsonLinesSource(), path)
    assert (reading.column("name"), reading.failed_rows) == (["a", "b"], [1])


def test_what_is_not_a_number_is_one_among_floats(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"x": 1.5}, {"x": float("nan")}, {"x": 2}])
    values = read_file(JsonLinesSource(), path).column("x")
    assert (values[0], math.isnan(values[1]), values[2]) == (1.5, True, 2.0)


def test_integers_that_feed_floats_may_have_fractions_later(tmp_path):
    rows = [{"x": 1, "y": [1]}] * 20_000 + [{"x": 1.5, "y": [2.5]}]
    path = write(tmp_path / "a.jsonl", rows)
    source = JsonLinesSource()
    made = plan(source, path)
    assert made.schema.field("x").type == pa.int64()
    fields = {"x": TensorField("x", "float32"), "y": TensorField("y", "float32", (1,))}
    prepared = source.prepared(ReadRequest(made.schema, fed=fields))
    assert own(read(prepared, made.splits[0]))[-1] == rows[-1]
    assert read(keeping_all(source, made), made.splits[0]).failed_rows == [20_000]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([2**60, 1.5], pa.float64()),
        ([2**70], pa.float64()),
        ([True, None], pa.bool_()),
        (["a", "b", 1], pa.string()),
        ([1, 2, "n/a"], pa.int64()),
        ([None], pa.string()),
        ([[], [1], [2.5]], pa.list_(pa.float64())),
        ([[]], pa.list_(pa.string())),
        ([[[1]], [[2, 3]]], pa.list_(pa.list_(pa.int64()))),
        ([[1], [2], ["a"]], pa.list_(pa.int64())),
        ([[1, "a"]], pa.string()),
        ([{"a": 1}, {"b": None}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ],
)
def test_the_type_of_a_member_is_that_of_most_values(values, kind):
    assert infer_schema([{"c": value} for value in values]).field("c").type == kind


def test_a_cut_file_gives_the_lines_before_it(tmp_path):
    path = write(tmp_path / "a.jsonl.gz", ROWS, gzip.compress)
    path.write_bytes(path.read_bytes()[:-5000])
    reading = read_file(JsonLinesSource(), path)
    assert own(reading) == ROWS[: len(reading.rows)]
    assert 0 < len(reading.rows) < len(ROWS)
    [failure] = reading.failures
    assert failure[:4] == (str(path), len(reading.rows), "read", "DamagedFileError")


@settings(max_examples=60)
@given(
    flips=st.lists(st.integers(0, 10_000), max_size=4),
    cut=st.integers(0, 10_000) | st.none(),
    compress=st.sampled_from([bytes, gzip.compress]),
)
def test_rows_add_up_whatever_happens_to_a_file(tmp_path, flips, cut, compress):
    sound = write(tmp_path / "sound.jsonl", ROWS[:30])
    data = compress(sound.read_bytes())
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(damaged(data, [flip % len(data) for flip in flips], cut and cut % len(data)))
    source = JsonLinesSource()
    made = plan(source, sound)
    # The accounting itself is checked by `read`.
    reading = read(keeping_all(source, made), Split(0, (str(path),)))
    if path.read_bytes() == data:
        assert (own(reading), reading.failures) == (ROWS[:30], [])


def test_deep_nesting_is_no_danger(tmp_path):
    deep = '{"z": ' + "[" * 100_000 + "]" * 100_000 + "}"
    path = write(tmp_path / "a.jsonl", [{"id": 0}, deep, {"id": 2}])
    reading = read_file(JsonLinesSource(), path)
    assert reading.total == 3
    assert reading.column("id") == [0, None, 2]


def test_blocks_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.sources.jsonl.BLOCK_ROWS", BLOCK_ROWS)
    wide = [{"x": "y" * 1_000_000} for _ in range(20)]
    for rows in (ROWS, wide):
        path = write(tmp_path / "a.jsonl", rows)
        source = JsonLinesSource()
        made = plan(source, path)
        blocks = list(keeping_all(source, made).read(made.splits[0]))
        assert len(blocks) == 4
        assert all(block.batch.num_rows <= BLOCK_ROWS for block in blocks)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_files_of_nothing_have_no_rows(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    made = plan(JsonLinesSource(), path)
    assert (made.rows, made.schema) == (0, pa.schema([]))
    assert read(keeping_all(JsonLinesSource(), made), made.splits[0]).total == 0


def test_files_without_objects_are_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", ["id,x", "1,2"])
    with pytest.raises(InputError, match="expected a JSON object on each line"):
        plan(JsonLinesSource(), path)


def test_reserved_members_are_refused_and_those_of_failed_rows_are_not(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"x": 1, "_source": "s"}])
    with pytest.raises(InputError, match="_source in"):
        plan(JsonLinesSource(), path)
    why = {"_source": "s", "_row": 1, "_stage": "infer", "_error": "E", "_message": "m"}
    path = write(tmp_path / "a.jsonl", [{"x": 1} | why])
    assert plan(JsonLinesSource(), path).schema.names == ["x"]


def test_reads_from_other_filesystems():
    path = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/a.jsonl.gz"
    FILES[path] = gzip.compress(b'{"id": 0}\n{"id": 1}\n')
    source = JsonLinesSource()
    made = source.plan([InputFile(path, len(FILES[path]))], 2**20)
    assert read(keeping_all(source, made), made.splits[0]).column("id") == [0, 1]


def test_no_files_are_no_splits():
    made = JsonLinesSource().plan(input_files([]), 2**20)
    assert (made.splits, made.rows) == ((), 0)


def test_a_line_that_is_too_long_fails_alone(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"x": 1}, {"x": 1, "y": "a" * 80}, {"x": 3}])
    reading = read_file(JsonLinesSource(max_record_bytes=80), path)
    assert reading.column("_row") == [0, 2]
    [failure] = reading.failures
    assert failure[1:4] == (1, "read", "RecordSizeError")
    assert "--max_record_bytes" in failure.message
