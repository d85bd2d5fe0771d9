from __future__ import annotations

import argparse
import csv
import gzip
import io
import uuid

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.base import InputError, ReadRequest
from pipelines.sources.csv import CsvSource
from pipelines.splits import InputFile, Split
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem
from tests.pipelines.sources.reading import damaged, input_files, keeping_all, plan, read, read_file
from transforms.engine.signature import TensorField

BLOCK_ROWS = 4096
ROWS = [[number, number / 4 - 7, f'quoted, "{number}"\nand broken é'] for number in range(9000)]
HEADER = ["id", "x", "text"]


def write(path, rows, header=HEADER, compress=bytes, **dialect):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", **dialect)
    writer.writerows([header, *rows] if header else rows)
    path.write_bytes(compress(text.getvalue().encode()))
    return path


def content(path, data):
    path.write_bytes(data)
    return path


def values(reading, names=HEADER):
    return [[row[name] for name in names] for row in reading.rows]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_reads_what_the_standard_library_writes(tmp_path, compress):
    path = write(tmp_path / "a.csv", ROWS, compress=compress)
    reading = read_file(CsvSource(), path)
    assert values(reading) == ROWS
    assert reading.column("_row") == list(range(len(ROWS)))
    assert reading.failures == []


CELLS = st.text(st.sampled_from('ab"\n,;é \u2028'), max_size=6)


@settings(max_examples=80)
@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=12))
def test_reads_any_text_that_is_quoted(tmp_path, rows):
    path = write(tmp_path / "a.csv", rows, header=["a", "b"], quoting=csv.QUOTE_ALL)
    assert values(read_file(CsvSource(), path), ["a", "b"]) == rows


def test_only_wanted_columns_are_given(tmp_path):
    path = write(tmp_path / "a.csv", ROWS[:3])
    source = CsvSource()
    made = plan(source, path)
    request = ReadRequest(made.schema, fed={"x": TensorField("x", "float32")}, kept=("id",))
    prepared = source.prepared(request)
    assert prepared.block_schema().names == ["x", "id", "_source", "_row"]
    reading = read(prepared, made.splits[0])
    assert values(reading, ["id", "x"]) == [row[:2] for row in ROWS[:3]]
    assert read(source.prepared(ReadRequest(made.schema)), made.splits[0]).total == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [("5,1", "Received: 2"), ("5,1,a,b", "Received: 4"), ("5,abc,t", "'x' is no double"),
     ("five,1,t", "'id' is no int64"), ("5", "Received: 1"), ('5,"1', "Received: 2")],
)  # fmt: skip
def test_a_bad_record_fails_alone(tmp_path, line, words):
    lines = ["id,x,text", *(f"{number},{number}.5,t" for number in range(9))]
    lines[6] = line if '"' not in line else line + '"'
    path = content(tmp_path / "a.csv", "\n".join(lines).encode())
    source = CsvSource()
    made = plan(source, path)
    fed = {name: TensorField(name, kind) for name, kind in (("id", "int64"), ("x", "float32"))}
    reading = read(
        source.prepared(ReadRequest(made.schema, fed=fed, kept=("text",))), made.splits[0]
    )
    assert reading.column("id") == reading.column("_row") == [0, 1, 2, 3, 4, 6, 7, 8]
    [failure] = reading.failures
    assert failure[:4] == (str(path), 5, "decode", "CsvError")
    assert words in failure.message
    assert next(csv.reader([failure.data.decode()])) == next(csv.reader([lines[6]]))


def test_a_value_of_another_type_costs_no_row_where_it_is_only_kept(tmp_path):
    path = write(tmp_path / "a.csv", [[1], [2], ["x"]], header=["code"])
    assert read_file(CsvSource(), path).column("code") == ["1", "2", "x"]


def test_rows_count_records_and_not_lines(tmp_path):
    path = content(
        tmp_path / "a.csv", b'\xef\xbb\xbfid,x\r\n0,"a\r\nb"\r\n\r\n1\r\n2,c\r\n\r\n3,d,e\r\n4,f'
    )
    reading = read_file(CsvSource(), path)
    assert reading.column("id") == reading.column("_row") == [0, 2, 4]
    assert reading.failed_rows == [1, 3]
    assert reading.column("x")[0] == "a\r\nb"


@settings(max_examples=60)
@given(kinds=st.lists(st.sampled_from(["good", "short", "long", "blank", "quoted"]), max_size=60))
def test_every_record_keeps_its_place(tmp_path, kinds):
    lines, good, bad = ["id,text"], [], []
    for kind in kinds:
        row = len(good) + len(bad)
        if kind == "blank":
            lines.append("")
        elif kind in ("short", "long"):
            lines.append({"short": f"{row}", "long": f"{row},a,b"}[kind])
            bad.append(row)
        else:
            lines.append(f"{row},a" if kind == "good" else f'{row},"a\n""b"')
            good.append(row)
    path = content(tmp_path / "a.csv", "\n".join(lines).encode())
    source = CsvSource(types=(("id", "int64"),), max_record_bytes=64)
    made = plan(source, content(tmp_path / "sound.csv", b"id,text\n1,a\n"))
    reading = read(keeping_all(source, made), Split(0, (str(path),)))
    assert reading.column("id") == reading.column("_row") == good
    assert reading.failed_rows == bad


def test_a_quote_that_nothing_closes_ends_the_file(tmp_path):
    lines = [f"{number},a" for number in range(2000)]
    lines[1000] = '1000,"a'
    path = content(tmp_path / "a.csv", ("id,x\n" + "\n".join(lines)).encode())
    reading = read_file(CsvSource(max_record_bytes=2000), path)
    assert reading.column("id") == list(range(1000))
    [failure] = reading.failures
    assert failure[:4] == (str(path), 1000, "read", "DamagedFileError")


def test_text_that_is_no_utf_8_fails_alone(tmp_path):
    path = content(tmp_path / "a.csv", "id,x\n0,é\n".encode() + b"1,\xff\n2\xff\n3,\xc3\xa9\n")
    reading = read_file(CsvSource(), path)
    assert values(reading, ["id", "x"]) == [[0, "é"], [3, "é"]]
    assert reading.failed_rows == [1, 2]
    assert [failure.data for failure in reading.failures] == [b"1,\xff", b"2\xff"]
    assert "UTF-8" in reading.failures[0].message


def test_columns_are_found_by_name_in_every_file(tmp_path):
    first = write(tmp_path / "a.csv", [[1, 2.5]], header=["id", "x"])
    second = write(tmp_path / "b.csv", [[7.5, "other", 8]], header=["x", "y", "id"])
    third = write(tmp_path / "c.csv", [[1], [2]], header=["id"])
    source = CsvSource()
    made = plan(source, first, second, third)
    readings = [read(keeping_all(source, made), split) for split in made.splits]
    assert values(readings[1], ["id", "x"]) == [[8, 7.5]]
    assert (readings[2].rows, readings[2].failed_rows) == ([], [0, 1])
    assert "expected column 'x'" in readings[2].failures[0].message


def test_types_are_those_of_the_first_middle_and_last_file(tmp_path):
    paths = [
        write(tmp_path / f"{index}.csv", [[value]], header=["x"])
        for index, value in enumerate([1, 2, 3, 4, 5.5])
    ]
    assert plan(CsvSource(), *paths).schema.field("x").type == pa.float64()


def test_integers_that_feed_floats_may_have_fractions_later(tmp_path):
    path = write(tmp_path / "a.csv", [[1]] * 400 + [[1.5]], header=["x"])
    source = CsvSource(max_record_bytes=100)
    made = plan(source, path)
    assert made.schema.field("x").type == pa.int64()
    fed = source.prepared(ReadRequest(made.schema, fed={"x": TensorField("x", "float32")}))
    assert read(fed, made.splits[0]).column("x") == [1] * 400 + [1.5]
    assert read(keeping_all(source, made), made.splits[0]).failed_rows == [400]


def flags(*arguments):
    parser = argparse.ArgumentParser()
    CsvSource.add_arguments(parser)
    return CsvSource.from_args(parser.parse_args(arguments))


def test_flags_say_how_a_file_is_written(tmp_path):
    assert flags() == CsvSource()
    path = content(tmp_path / "a.csv", b"007;1\n042;2\n")
    source = flags("--csv_delimiter", ";", "--csv_no_header", "--csv_types", "f1=float32")
    made = plan(source, path)
    assert made.schema == pa.schema([("f0", pa.string()), ("f1", pa.float32())])
    reading = read(keeping_all(source, made), made.splits[0])
    assert values(reading, ["f0", "f1"]) == [["007", 1.0], ["042", 2.0]]
    assert reading.column("_row") == [0, 1]
    path = content(tmp_path / "b.tsv.gz", gzip.compress(b"a\tb\n1\t2,5\n"))
    assert values(read_file(flags(), path), ["a", "b"]) == [[1, "2,5"]]
    assert flags("--csv_delimiter", "tab").delimiter == "\t"


@pytest.mark.parametrize(
    "arguments",
    [["--csv_delimiter", ";;"], ["--csv_delimiter", '"'], ["--csv_types", "a"],
     ["--csv_types", "a=int7"]],
)  # fmt: skip
def test_flags_out_of_range_are_refused(arguments):
    with pytest.raises(SystemExit) as exit_info:
        flags(*arguments)
    assert exit_info.value.code == 2


def test_types_of_unknown_columns_are_refused(tmp_path):
    path = write(tmp_path / "a.csv", ROWS[:3])
    with pytest.raises(InputError, match=r"'nope'.*id, x, text"):
        plan(flags("--csv_types", "nope=int64"), path)


def test_a_cut_file_gives_the_records_before_it(tmp_path):
    path = write(tmp_path / "a.csv.gz", ROWS, compress=gzip.compress)
    whole = path.read_bytes()
    for length in range(len(whole) - 4000, len(whole), 397):
        path.write_bytes(whole[:length])
        reading = read_file(CsvSource(), path)
        # Not one value is the first half of another: the cut lies within quotes at times.
        assert values(reading) == ROWS[: len(reading.rows)]
        assert 0 < len(reading.rows) <= len(ROWS)
        [failure] = reading.failures
        assert failure[:4] == (str(path), len(reading.rows), "read", "DamagedFileError")


@settings(max_examples=60)
@given(
    flips=st.lists(st.integers(0, 10_000), max_size=4),
    cut=st.integers(0, 10_000) | st.none(),
    compress=st.sampled_from([bytes, gzip.compress]),
)
def test_rows_add_up_whatever_happens_to_a_file(tmp_path, flips, cut, compress):
    sound = write(tmp_path / "sound.csv", ROWS[:30])
    data = compress(sound.read_bytes())
    path = tmp_path / "damaged.csv"
    path.write_bytes(damaged(data, [flip % len(data) for flip in flips], cut and cut % len(data)))
    source = CsvSource()
    made = plan(source, sound)
    # The accounting itself is checked by `read`.
    reading = read(keeping_all(source, made), Split(0, (str(path),)))
    if path.read_bytes() == data:
        assert (values(reading), reading.failures) == (ROWS[:30], [])


def test_blocks_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.sources.csv_rows.BLOCK_ROWS", BLOCK_ROWS)
    path = write(tmp_path / "a.csv", ROWS)
    made = plan(CsvSource(), path)
    blocks = list(keeping_all(CsvSource(), made).read(made.splits[0]))
    assert [block.batch.num_rows for block in blocks] == [BLOCK_ROWS, BLOCK_ROWS, 808, 0]


def test_failures_keep_their_order_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.sources.csv_rows.BLOCK_ROWS", BLOCK_ROWS)
    rows = [[*row[:2], "t"] for row in ROWS]
    rows[1:9000:3000] = [[1]] * 3
    rows[2:9000:3000] = [[2, "oops", "t"]] * 3
    source = CsvSource()
    path = write(tmp_path / "a.csv", rows)
    made = plan(source, path)
    fed = source.prepared(ReadRequest(made.schema, fed={"x": TensorField("x", "float32")}))
    expected = [1, 2, 3001, 3002, 6001, 6002]
    assert read(fed, made.splits[0]).failed_rows == expected
    counts = [len(block.failures) for block in fed.read(made.splits[0])]
    assert counts == [4, 2, 0, 0]


@pytest.mark.parametrize(
    "data",
    [b"", b"\n \r\n", b"\xef\xbb\xbf", b"id,x", b"id,x\n", gzip.compress(b"id,x\n", mtime=0)],
)
def test_files_of_nothing_have_no_rows(tmp_path, data):
    path = content(tmp_path / "a.csv", data)
    made = plan(CsvSource(), path)
    assert (made.rows, made.schema) == (0, pa.schema([]))
    assert read(keeping_all(CsvSource(), made), made.splits[0]).total == 0
    imagined = ReadRequest(pa.schema([("x", pa.list_(pa.float32()))]), kept=("x",))
    assert read(CsvSource().prepared(imagined), made.splits[0]).total == 0


@pytest.mark.parametrize("data", ["x,y\n1,2\n".encode("utf-16"), b"PAR1\0\0\x15\n1,2\n"])
def test_what_is_no_text_gives_no_columns(tmp_path, data):
    path = content(tmp_path / "a.csv", data)
    with pytest.raises(InputError, match="header of UTF-8 text. Received: zero bytes"):
        plan(CsvSource(), path)


def test_columns_that_cannot_be_told_apart_are_refused(tmp_path):
    path = content(tmp_path / "a.csv", b"x,x\n1,2\n")
    with pytest.raises(InputError, match=r"cannot be read \(the header names .* alike: x, x\)"):
        plan(CsvSource(), path)
    path = content(tmp_path / "a.csv", b"x,_source\n1,2\n")
    with pytest.raises(InputError, match="_source in"):
        plan(CsvSource(), path)
    path = content(tmp_path / "a.csv", b"x,_source,_row,_stage,_error,_message\n1,2,3,4,5,6\n")
    assert plan(CsvSource(), path).schema.names == ["x"]


def test_reads_from_other_filesystems():
    path = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/a.csv.gz"
    FILES[path] = gzip.compress(b"id\n0\n1\n")
    source = CsvSource()
    made = source.plan([InputFile(path, len(FILES[path]))], 2**20)
    assert read(keeping_all(source, made), made.splits[0]).column("id") == [0, 1]


def test_a_file_that_is_gone_is_an_error_of_the_job(tmp_path):
    path = write(tmp_path / "a.csv", ROWS[:3])
    made = plan(CsvSource(), path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(keeping_all(CsvSource(), made).read(made.splits[0]))


def test_no_files_are_no_splits():
    made = CsvSource().plan(input_files([]), 2**20)
    assert (made.splits, made.rows) == ((), 0)
