from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.csv_records import RecordStream
from pipelines.sources.csv_scan import Scan, State
from pipelines.sources.streams import DamagedFileError

COMMA = ord(",")


def byte_by_byte(text: bytes, state: State) -> tuple[list[int], State]:
    """The machine that `Scan` runs over whole arrays."""
    ends = []
    for index, byte in enumerate(text):
        if state is State.IN_QUOTES:
            state = State.FIELD_START if byte == ord('"') else state
        elif byte in b"\r\n":
            if text[index : index + 2] != b"\r\n":
                ends.append(index + 1)
            state = State.FIELD_START
        elif byte == COMMA:
            state = State.FIELD_START
        elif byte != ord('"'):
            state = State.IN_FIELD
        elif state is State.FIELD_START:
            state = State.IN_QUOTES
    return ends, state


@pytest.mark.parametrize("state", State)
def test_short_texts_are_scanned_as_byte_by_byte(state):
    for letters in itertools.chain(*(itertools.product(b'a,"\n\r', repeat=n) for n in range(6))):
        scan = Scan(bytes(letters), COMMA, state)
        assert (scan.ends.tolist(), scan.state) == byte_by_byte(bytes(letters), state), letters


TEXTS = st.lists(
    st.sampled_from([b"a", b",", b'"', b'""', b'"""', b"\n", b"\r\n", b"\r", b',"', b'",']),
    max_size=80,
).map(b"".join)


@settings(max_examples=300)
@given(text=TEXTS, state=st.sampled_from(State))
def test_texts_are_scanned_as_byte_by_byte(text, state):
    scan = Scan(text, COMMA, state)
    assert (scan.ends.tolist(), scan.state) == byte_by_byte(text, state)
    commas = [index for index, byte in enumerate(text) if byte == COMMA]
    outside = [at for at in commas if byte_by_byte(text[:at], state)[1] is not State.IN_QUOTES]
    assert scan.delimiters().tolist() == outside


def parsed_records(text: bytes) -> int:
    """How many records the parser finds."""
    skipped = []

    def skip(row):
        skipped.append(row.number)
        return "skip"

    table = pacsv.read_csv(
        pa.BufferReader(text),
        pacsv.ReadOptions(use_threads=False, block_size=1000, column_names=["a", "b"]),
        pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        pacsv.ConvertOptions(column_types={"a": pa.string(), "b": pa.string()}),
    )
    return table.num_rows + len(skipped)


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


@settings(max_examples=300)
@given(text=TEXTS, size=st.integers(1, 20))
def test_records_are_those_of_the_parser(text, size):
    stream = RecordStream(pieces(text, size), 100, COMMA, max_record_bytes=1000)
    groups = list(stream)
    ends, state = byte_by_byte(text, State.FIELD_START)
    if state is State.IN_QUOTES:
        with pytest.raises(DamagedFileError):
            list(stream.last())
        text = text[: ends[-1] if ends else 0]
        assert stream.offset == len(text) + 100
    else:
        groups += stream.last()
    whole = b"".join(group.text for group in groups)
    assert whole.removesuffix(b"\n") == text.removesuffix(b"\n")
    starts = [int(start) - 100 for group in groups for start in group.starts]
    assert starts == [at for at in [0, *ends] if text[at : at + 1].strip(b"\r\n")]
    assert len(starts) == (parsed_records(whole) if whole else 0)


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
def test_a_record_that_is_too_long_costs_itself_only(size):
    long = b'"' + b"x\n" * 50 + b'",1\n'
    stream = RecordStream(
        pieces(b"a,1\n" + long + b"b,2\n" + long + b"c", size), 0, COMMA, max_record_bytes=50
    )
    found = [(group.text, group.starts.tolist()) for group in [*stream, *stream.last()]]
    starts = np.cumsum([0, 4, len(long), 4, len(long)]).tolist()
    texts = [b"a,1\n", b"", b"b,2\n", b"", b"c\n"]
    assert found == [(text, [start]) for text, start in zip(texts, starts, strict=True)]
