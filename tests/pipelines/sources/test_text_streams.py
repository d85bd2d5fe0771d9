from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import text_streams
from pipelines.sources.streams import DamagedFileError
from pipelines.sources.text_streams import NO_UTF8, LineStream, lines


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


def cut(text: bytes, size: int) -> Iterator[bytes]:
    yield from pieces(text, size)
    raise DamagedFileError("cut")


TEXTS = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b" ", b"{}", "é".encode()])).map(b"".join)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, size=st.integers(1, 9))
def test_lines_are_those_that_hold_something(text, size):
    found = [line for group in lines(pieces(text, size)) for line in group]
    assert found == [line.strip() for line in text.split(b"\n") if line.strip()]


def test_a_cut_costs_its_line_only():
    found = lines(cut(b"one\ntwo\nthr", 4))
    assert [next(found), next(found)] == [[b"one"], [b"two"]]
    with pytest.raises(DamagedFileError):
        next(found)


def test_endless_lines_are_damage(monkeypatch):
    monkeypatch.setattr(text_streams, "MAX_LINE_BYTES", 1000)
    chunks = iter(lines(b"x" * 100 for _ in range(100)))
    with pytest.raises(DamagedFileError, match="more than 1000 bytes"):
        next(chunks)


def drained(stream: LineStream, size: int) -> bytes:
    got = []
    while data := stream.read(size):
        assert len(data) == size or not stream.read(0)
        got.append(data)
    return b"".join(got)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, chunk=st.integers(1, 9), size=st.integers(1, 9))
def test_streams_give_the_text_with_its_last_line_ended(text, chunk, size):
    stream = LineStream(pieces(text, chunk), max_line_bytes=10_000)
    got = drained(stream, size)
    head, _, last = text.rpartition(b"\n")
    assert got.startswith(head)
    assert got.strip() == text.strip()
    assert not last.strip() or got.endswith(b"\n")
    assert (stream.damage, stream.has_replaced) == (None, False)


def test_streams_leave_out_a_cut_line():
    stream = LineStream(cut(b"one\ntwo\nthr", 4), max_line_bytes=100)
    assert drained(stream, 5) == b"one\ntwo\n"
    assert stream.damage is not None


def test_streams_end_before_a_line_that_is_too_long():
    stream = LineStream(pieces(b"one\n" + b"x" * 50, 10), max_line_bytes=20)
    assert drained(stream, 5) == b"one\n"
    assert "more than 20 bytes" in str(stream.damage)


def test_streams_mark_bytes_that_are_no_utf_8():
    stream = LineStream(pieces("é\n".encode() + b"\xff\xfe\n", 1), max_line_bytes=100)
    given_text = drained(stream, 100).decode()
    assert given_text == f"é\n{NO_UTF8}\xff{NO_UTF8}\xfe\n"
    assert stream.has_replaced
    assert stream.stored(given_text) == "é\n".encode() + b"\xff\xfe\n"
