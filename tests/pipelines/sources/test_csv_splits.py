"""Files of CSV and JSON lines that are read in ranges of bytes give what one split gives."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.sources import csv_borders
from pipelines.sources.csv import CsvSource
from pipelines.sources.csv_borders import CsvBody, CsvBorderError, border
from pipelines.sources.csv_records import RecordStream
from pipelines.sources.jsonl import JsonLinesSource
from pipelines.splits import Split
from tests.pipelines.sources.reading import Reading, keeping_all, plan, read

MARK = b"\xef\xbb\xbf"
properties = settings(max_examples=60)


def read_in_splits(source, path, split_bytes) -> tuple[Reading, Reading, bool]:
    """What the splits of a file give, what it gives as one, and whether there are several."""
    cut = plan(source, path, split_bytes=split_bytes)
    prepared = keeping_all(source, cut)
    parts = [read(prepared, split) for split in cut.splits]
    whole = read(prepared, Split(0, (str(path),), byte_rows=len(cut.splits) > 1))
    return (
        Reading(
            [row for part in parts for row in part.rows],
            [failure for part in parts for failure in part.failures],
            sum(part.total for part in parts),
        ),
        whole,
        len(parts) > 1,
    )


def table_text(rows, line_end="\n", mark=b"", ends=True, **dialect) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, **dialect).writerows(rows)
    return mark + text.getvalue().removesuffix("" if ends else line_end).encode()


CELLS = st.lists(
    st.sampled_from(["a", "é", "1", " ", ",", '"', '""', "\n", "\r\n", "\r", "long text"]),
    max_size=5,
).map("".join)
ROWS = st.integers(1, 4).flatmap(
    lambda columns: st.lists(
        st.lists(CELLS, min_size=columns, max_size=columns), min_size=1, max_size=30
    )
)
TABLES = st.builds(
    lambda rows, **how: table_text([[f"c{n}" for n in range(len(rows[0]))], *rows], **how),
    ROWS,
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", MARK]),
    ends=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)


@properties
@given(data=TABLES, split_bytes=st.integers(2, 200))
def test_splits_give_what_the_whole_file_gives(tmp_path, data, split_bytes):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    # The window holds the rest of the file: nothing has to be guessed, whatever it looks like.
    assert_same(*read_in_splits(CsvSource(), path, split_bytes), data)


def assert_same(parts: Reading, whole: Reading, is_cut: bool, data: bytes) -> None:
    assert parts == whole
    if not is_cut:
        return
    mark_bytes = len(MARK) if data.startswith(MARK) else 0
    for row in [*parts.column("_row"), *parts.failed_rows]:
        # A record starts there: behind a line end, or the file with it.
        assert row == mark_bytes or data[row - 1 : row] in (b"\n", b"\r")


@settings(properties, max_examples=150)
@given(data=TABLES, split_bytes=st.integers(2, 60), window=st.integers(2, 60))
def test_a_wrong_guess_is_an_error_and_no_wrong_row(tmp_path, data, split_bytes, window):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_borders, "WINDOW_BYTES", window)
        patch.setattr(csv_borders, "MAX_WINDOW_BYTES", window)
        try:
            parts, whole, is_cut = read_in_splits(CsvSource(), path, split_bytes)
        except CsvBorderError:
            return
    assert_same(parts, whole, is_cut, data)


WORDS = st.lists(
    st.sampled_from(["red", "a, b", 'say "hi"', "two\nlines", "x\r\ny", "5", "", "naïve; yes"]),
    min_size=1, max_size=4,
).map(" ".join)  # fmt: skip


@settings(properties, max_examples=100)
@given(
    texts=st.lists(WORDS, min_size=40, max_size=120),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    split_bytes=st.integers(20, 400),
)
def test_ordinary_tables_are_never_refused(tmp_path, texts, quoting, line_end, split_bytes):
    rows = [[index, text, index / 4] for index, text in enumerate(texts)]
    data = table_text([["id", "text", "x"], *rows], line_end, quoting=quoting)
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        # Some records, and far less than the rest of the file.
        patch.setattr(csv_borders, "WINDOW_BYTES", 100)
        patch.setattr(csv_borders, "MAX_WINDOW_BYTES", 1600)
        parts, whole, is_cut = read_in_splits(CsvSource(), path, split_bytes)
    assert_same(parts, whole, is_cut, data)
    assert parts.column("text") == texts


def test_a_file_that_reads_in_two_ways_is_an_error(tmp_path, monkeypatch):
    # Between quotes or not, each line end stands between two quotes on lines of their own.
    data = b"a\n" + b'"\n"\n' * 200
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    assert_same(*read_in_splits(CsvSource(), path, 33), data)
    monkeypatch.setattr(csv_borders, "WINDOW_BYTES", 50)
    monkeypatch.setattr(csv_borders, "MAX_WINDOW_BYTES", 200)
    source = CsvSource()
    cut = plan(source, path, split_bytes=33)
    borders = [find(data, at=split.start, columns=1, body=2) for split in cut.splits]
    wrong = [at not in range(2, len(data) + 1, 4) for at in borders]
    assert any(wrong)
    # The split before the first wrong border finds it.
    prepared = keeping_all(source, cut)
    for split in cut.splits[: wrong.index(True) - 1]:
        read(prepared, split)
    with pytest.raises(CsvBorderError, match="--csv_whole_files and --overwrite"):
        read(prepared, cut.splits[wrong.index(True) - 1])
    assert len(plan(CsvSource(whole_files=True), path, split_bytes=33).splits) == 1


def find(data: bytes, at: int, columns: int, body: int = 0) -> int:
    return border(io.BytesIO(data), len(data), CsvBody(body, columns, ord(",")), at)


PROSE = "a line of it\nand, one more\n" * 40
BORDERS = {
    # What stands around a window of 100 bytes tells nothing; what it holds does.
    "no quotes": (b"1,2,3\n" * 100, 3),
    "quoted numbers": (b'"1","2"\n' * 100, 2),
    "empty ones": (b'1,"",2\n' * 100, 3),
    "text that ends a line": (b'1,"some words\n",2\n' * 100, 3),
    "text that ends with the delimiter": (b'1,"some words,",2\n' * 100, 3),
    "prose that is longer than the window": (
        table_text([[1, PROSE, 2], [3, "b", 4]] * 5), 3),
    "quotes within the fields": (b'1,5" pipe,x\n2,3"" nail,y\n' * 50, 3),
    "lone returns": (b'1,"a\rb"\r2,c\r' * 50, 2),
    "records of other lengths": (b"1,2\n1\n1,2,3\n" * 50, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", BORDERS)
def test_borders_are_where_records_start(name, monkeypatch):
    monkeypatch.setattr(csv_borders, "WINDOW_BYTES", 100)
    monkeypatch.setattr(csv_borders, "MAX_WINDOW_BYTES", 1600)
    data, columns = BORDERS[name]
    stream = RecordStream(iter([data]), 0, ord(","), 2**20)
    true = {int(start) for group in stream for start in group.starts} | {len(data)}
    found = {at: find(data, at, columns) for at in range(0, len(data) + 1, 3)}
    assert set(found.values()) <= true
    assert all(at <= place for at, place in found.items())


@pytest.mark.parametrize("size", [300, 5000])
def test_a_record_longer_than_any_window_is_passed(size, monkeypatch):
    monkeypatch.setattr(csv_borders, "WINDOW_BYTES", 100)
    monkeypatch.setattr(csv_borders, "MAX_WINDOW_BYTES", 400)
    data = b"1,2\n" + b"x" * size + b",2\n1,2\n"
    assert find(data, 6, 2) == 4 + size + 3
    assert find(data[: 4 + size], 6, 2) == 4 + size


@properties
@given(
    kinds=st.lists(
        st.sampled_from(["good", "short", "long", "bytes", "blank", "huge", "quoted"]),
        min_size=1, max_size=60,
    ),
    split_bytes=st.integers(5, 100),
)  # fmt: skip
def test_bad_records_are_failures_at_their_own_bytes(tmp_path, kinds, split_bytes):
    texts = {"good": b"1,a", "short": b"1", "long": b"1,a,b", "bytes": b"1,\xff", "blank": b"",
             "huge": b"1," + b"x" * 80, "quoted": b'1,"a\n""b\r\n"'}  # fmt: skip
    data, good, bad = b"id,x\n", [], []
    for kind in kinds:
        if kind != "blank":
            (good if kind in ("good", "quoted") else bad).append((len(data), texts[kind]))
        data += texts[kind] + b"\n"
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    assume(len(data) > split_bytes)
    source = CsvSource(types=(("id", "int64"), ("x", "string")), max_record_bytes=64)
    parts, whole, _ = read_in_splits(source, path, split_bytes)
    assert parts == whole
    assert parts.column("_row") == [at for at, _ in good]
    assert parts.failed_rows == [at for at, _ in bad]
    for failure, (_, text) in zip(parts.failures, bad, strict=True):
        assert failure.data == (None if len(text) > 64 else text)


def test_a_header_is_no_row_wherever_a_file_is_cut(tmp_path):
    path = tmp_path / "a.csv"
    for rows in (b"", b"1,2\n3,4", b"\n\n1,2\n"):
        data = b'\r\n"first\ncolumn",second\n' + rows
        path.write_bytes(data)
        source = CsvSource(types=(("second", "int64"),)) if rows else CsvSource()
        for split_bytes in range(1, len(data) + 1):
            assert_same(*read_in_splits(source, path, split_bytes), data)


def test_a_quote_that_nothing_closes_ends_its_split(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_borders, "WINDOW_BYTES", 20)
    data = b"id,x\n" + b"1,a\n" * 50 + b'2,"b\n' + b"3,c\n" * 10
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    parts, whole, _ = read_in_splits(CsvSource(), path, len(data) // 2 + 1)
    assert parts == whole
    [failure] = parts.failures
    assert failure[:4] == (str(path), 205, "read", "DamagedFileError")
    # Where more splits follow, they cannot know.
    with pytest.raises(CsvBorderError):
        read_in_splits(CsvSource(), path, 20)


def test_files_beside_a_cut_one_count_bytes_too(tmp_path):
    large = tmp_path / "a.csv"
    large.write_bytes(b"id\n" + b"1\n" * 50)
    small = tmp_path / "b.csv"
    small.write_bytes(MARK + b"id\n7\n\n8\n")
    source = CsvSource()
    cut = plan(source, large, small, split_bytes=60)
    assert (len(cut.splits), cut.row_unit) == (3, "byte")
    assert read(keeping_all(source, cut), cut.splits[2]).column("_row") == [6, 9]
    apart = plan(CsvSource(whole_files=True), large, small, split_bytes=60)
    assert (len(apart.splits), apart.row_unit) == (2, None)
    assert read(keeping_all(source, apart), apart.splits[1]).column("_row") == [0, 1]


VALUES = st.dictionaries(
    st.sampled_from("abc"),
    st.lists(st.sampled_from(["x", "\n", "\\n", '"', "é", "\u2028", " "])).map("".join),
    max_size=3,
)


@properties
@given(
    values=st.lists(VALUES | st.sampled_from([None, 5]), min_size=1, max_size=30),
    line_end=st.sampled_from(["\n", "\r\n", "\n\n", "\n \n"]),
    mark=st.sampled_from([b"", MARK]),
    is_ascii=st.booleans(),
    ends=st.booleans(),
    split_bytes=st.integers(1, 100),
)
def test_json_lines_are_read_in_splits(
    tmp_path, values, line_end, mark, is_ascii, ends, split_bytes
):
    texts = [json.dumps(value, ensure_ascii=is_ascii) for value in values]
    data = mark + (line_end.join(['{"a": ""}', *texts]) + line_end * ends).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    parts, whole, _ = read_in_splits(JsonLinesSource(), path, split_bytes)
    assert parts == whole
    lengths = [len((text + line_end).encode()) for text in ['{"a": ""}', *texts]]
    starts = list(itertools.accumulate([len(mark), *lengths[:-1]]))
    if len(data) > split_bytes:
        assert sorted([*parts.column("_row"), *parts.failed_rows]) == starts
    for row in parts.rows:
        if row["_row"] in starts[1:]:
            value = values[starts.index(row["_row"]) - 1]
            assert {key: row[key] for key in value} == value
