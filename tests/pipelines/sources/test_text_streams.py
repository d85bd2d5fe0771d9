from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.streams import DamagedFileError
from pipelines.sources.text_streams import (
    BYTE_ORDER_MARK,
    behind_line_end,
    can_cut,
    lines,
    text_chunks,
    without_mark,
)
from pipelines.splits import InputFile


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


def cut(text: bytes, size: int) -> Iterator[bytes]:
    yield from pieces(text, size)
    raise DamagedFileError("cut")


def given_lines(found) -> list[tuple[int, bytes]]:
    return [pair for part in found for pair in zip(part.starts.tolist(), part.texts, strict=True)]


def line_starts(text: bytes) -> list[int]:
    return [0, *(index + 1 for index, byte in enumerate(text) if byte == 10)]


TEXTS = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b" ", b"{}", "é".encode()])).map(b"".join)


@settings(max_examples=100)
@given(text=TEXTS, size=st.integers(1, 9))
def test_lines_are_those_that_hold_something(text, size):
    expected = [
        (start, line.strip())
        for start, line in zip(line_starts(text), text.split(b"\n"), strict=True)
        if line.strip()
    ]
    assert given_lines(lines(pieces(text, size))) == expected
    later = [(start + 7, line) for start, line in expected]
    assert given_lines(lines(pieces(text, size), 7)) == later


@settings(max_examples=150)
@given(text=TEXTS, size=st.integers(1, 9), cuts=st.lists(st.integers(0, 60)))
def test_a_line_is_in_the_range_that_it_starts_in(text, size, cuts):
    bounds = sorted({0, len(text), *(at for at in cuts if at < len(text))})
    found = []
    for start, stop in zip(bounds, [*bounds[1:], None], strict=True):
        chunks = pieces(text[max(0, start - 1) :], size)
        at = start
        if start:
            at, chunks = behind_line_end(chunks, start - 1, stop)
        mine = given_lines(lines(chunks, at, stop))
        assert all(start <= line and (stop is None or line < stop) for line, _ in mine)
        found += mine
    assert found == given_lines(lines(pieces(text, size)))


def test_a_cut_costs_its_line_only():
    found = lines(cut(b"one\ntwo\nthr", 4))
    assert [next(found).texts, next(found).texts] == [[b"one"], [b"two"]]
    with pytest.raises(DamagedFileError):
        next(found)


@settings(max_examples=100)
@given(texts=st.lists(st.integers(0, 30).map(lambda size: b"x" * size)), size=st.integers(1, 9))
def test_a_line_that_is_too_long_comes_without_its_text(texts, size):
    whole = b"\n".join(texts)
    found = given_lines(lines(pieces(whole, size), max_line_bytes=12))
    starts = line_starts(whole)
    assert [start for start, _ in found] == [
        start for start, text in zip(starts, texts, strict=False) if text
    ]
    for start, text in found:
        true = texts[starts.index(start)]
        assert text == (true if len(true) <= 12 else b"")


def test_a_range_of_one_endless_line_is_not_read_to_its_end():
    endless = iter(lambda: b"x" * 100, None)
    assert given_lines(lines(endless, 0, 3000, 1000)) == [(0, b"")]
    assert list(behind_line_end(endless, 99, 3000)[1]) == []


@settings(max_examples=40)
@given(text=st.binary(max_size=60), start=st.integers(0, 70), compress=st.booleans())
def test_chunks_start_where_they_are_asked_to(tmp_path, text, start, compress):
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(text) if compress else b" " + text)
    expected = text if compress else b" " + text
    assert b"".join(text_chunks(str(path), start, None, 7)) == expected[start:]
    assert can_cut(InputFile(str(path), 1)) is not compress


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_taken_away_once(size):
    for text in (b"", b"a", b"ab\n", b"\xef\xbb", BYTE_ORDER_MARK + b"b"):
        assert_text(without_mark(pieces(text, size)), text.removeprefix(BYTE_ORDER_MARK), text)
        marked = BYTE_ORDER_MARK + text
        assert_text(without_mark(pieces(marked, size)), text, marked)


def assert_text(found, text, stored):
    mark_bytes, chunks = found
    assert (mark_bytes, b"".join(chunks)) == (len(stored) - len(text), text)


def test_a_missing_file_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(text_chunks(str(tmp_path / "none")))
