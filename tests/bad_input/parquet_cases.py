"""Damaged Parquet files."""

from __future__ import annotations

import io
import struct

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.cases import Case, cases_out_of_reach, flipped, no_bytes, writing
from tests.bad_input.outcomes import Failed, Refused, Scored, Stopped
from tests.bad_input.sound import parquet, table

_SOUND = parquet(table(), row_group_size=2)
_CHUNK = pq.read_metadata(io.BytesIO(_SOUND)).row_group(0).column(0)
_CHUNK_END = _CHUNK.dictionary_page_offset + _CHUNK.total_compressed_size
_FOOTER = len(_SOUND) - 8 - struct.unpack("<I", _SOUND[-8:-4])[0]
_FLOATS = pa.list_(pa.float32())


def _x(*values, kind=_FLOATS):
    return parquet(table({"x": pa.array(values, kind)}))


def _footer_length(length: int) -> bytes:
    return _SOUND[:-8] + struct.pack("<I", length) + b"PAR1"


def _twice() -> bytes:
    both = table()
    return parquet(pa.Table.from_arrays([*both.columns, both.column("n")], ["x", "n", "text", "n"]))


CASES = (
    Case(
        "truncated",
        "the last byte is missing",
        writing(_SOUND[:-1]),
        Scored((), (Failed(0, "read", "DamagedFileError", "magic bytes not found in footer"),)),
        Refused("none with a readable footer"),
    ),
    Case(
        "truncated",
        "half of it is missing",
        writing(_SOUND[: len(_SOUND) // 2]),
        Scored((), (Failed(0, "read", "DamagedFileError", "magic bytes not found in footer"),)),
        Refused("none with a readable footer"),
    ),
    Case(
        "bit flips",
        "in the first row group's pages (they have checksums)",
        writing(flipped(_SOUND, _CHUNK_END - 1)),
        Scored(
            (2, 3),
            tuple(
                Failed(row, "read", "OSError", "CRC checksum verification failed") for row in (0, 1)
            ),
        ),
    ),
    Case(
        "bit flips",
        "in the footer",
        writing(flipped(_SOUND, _FOOTER)),
        Scored((), (Failed(0, "read", "DamagedFileError", "Couldn't deserialize thrift"),)),
        Refused("none with a readable footer"),
    ),
    Case(
        "wrong magic",
        "at the end",
        writing(_SOUND[:-4] + b"PARX"),
        Scored((), (Failed(0, "read", "DamagedFileError", "magic bytes not found in footer"),)),
        Refused("none with a readable footer"),
    ),
    Case(
        "wrong magic",
        "no Parquet: CSV",
        writing(b"x,n\n1,2\n" * 40),
        Scored((), (Failed(0, "read", "DamagedFileError", "magic bytes not found in footer"),)),
        Refused("none with a readable footer"),
    ),
    Case(
        "wrong type",
        "`x` of strings",
        writing(_x(["1"], ["2"], ["3"], ["4"], kind=pa.list_(pa.string()))),
        Scored(
            (),
            tuple(
                Failed(
                    row,
                    "read",
                    "TypeError",
                    "expected column 'x' as list<element: float>, as in the first file",
                )
                for row in (0, 1, 2, 3)
            ),
        ),
        Refused("Received: list<string>[?] (string is not cast to float32)"),
    ),
    Case(
        "wrong type",
        "`x` of float64, and one beyond float32",
        writing(_x([1, 2, 3], [1e300, 1, 2], [1, 2, 3], [4, 5, 6], kind=pa.list_(pa.float64()))),
        Scored((0, 1, 2, 3)),
        Scored((0, 2, 3), (Failed(1, "convert", "CastError", "which it cannot hold"),)),
    ),
    Case(
        "null",
        "`x` of one row",
        writing(_x([1, 2, 3], None, [1, 2, 3], [4, 5, 6])),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case(
        "null",
        "within `x` of one row",
        writing(_x([1, 2, 3], [1, None, 3], [1, 2, 3], [4, 5, 6])),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case(
        "NaN",
        "in `x`",
        writing(_x([1, 2, 3], [1, float("nan"), 3], [1, 2, 3], [4, 5, 6])),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "wrong length",
        "four values of `x` in one row",
        writing(_x([1, 2, 3], [1, 2, 3, 4], [1, 2, 3], [4, 5, 6])),
        Scored((0, 2, 3), (Failed(1, "convert", "ShapeError", "Received: float32[4]"),)),
    ),
    Case(
        "over-large length field",
        "a footer of 2^31 - 1 bytes",
        writing(_footer_length(2**31 - 1)),
        Scored(
            (), (Failed(0, "read", "DamagedFileError", "smaller than the size reported by footer"),)
        ),
        Refused("none with a readable footer"),
    ),
    Case(
        "bomb",
        "four texts of 16 MiB that are one in a dictionary: read in blocks of one row",
        writing(parquet(table({"text": pa.array(["a" * 2**24] * 4)}))),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "invalid UTF-8",
        "in `text` of one row",
        writing(parquet(table({"text": pa.array([b"a", b"\xff", b"c", b"d"]).view(pa.string())}))),
        Scored((0, 2, 3), (Failed(1, "decode", "ArrowInvalid", "Invalid UTF8"),)),
    ),
    Case(
        "duplicate columns",
        "`n` twice",
        writing(_twice()),
        Scored(
            (),
            tuple(
                Failed(row, "read", "KeyError", "expected one column 'n', as in the first file")
                for row in (0, 1, 2, 3)
            ),
        ),
        Refused("expected columns with names of their own"),
    ),
    Case(
        "missing columns",
        "no `x`",
        writing(parquet(table().drop_columns(["x"]))),
        Scored(
            (),
            tuple(
                Failed(
                    row,
                    "read",
                    "KeyError",
                    "expected column 'x' as list<element: float>, as in the first file",
                )
                for row in (0, 1, 2, 3)
            ),
        ),
        Refused("expected column 'x' as float32[?,3], or one other column that fits"),
    ),
    Case(
        "missing columns",
        "no `text`, which is only kept",
        writing(parquet(table().drop_columns(["text"]))),
        Scored(
            (),
            tuple(
                Failed(
                    row,
                    "read",
                    "KeyError",
                    "expected column 'text' as string, as in the first file",
                )
                for row in (0, 1, 2, 3)
            ),
        ),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "schema that changes between files",
        "`n` of strings, one more column",
        writing(parquet(table({"n": pa.array(list("abcd")), "more": pa.array(range(4))}))),
        Scored(
            (),
            tuple(
                Failed(
                    row, "read", "TypeError", "expected column 'n' as int64, as in the first file"
                )
                for row in (0, 1, 2, 3)
            ),
        ),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "schema that changes between files",
        "`n` of int32, columns in another order",
        writing(parquet(table({"n": pa.array(range(4), pa.int32())}).select(["text", "n", "x"]))),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "empty file",
        "0 bytes",
        no_bytes,
        Scored((), (Failed(0, "read", "DamagedFileError", "file size is 0 bytes"),)),
        Refused("none with a readable footer"),
    ),
    Case("empty file", "no rows", writing(parquet(table().slice(0, 0))), Scored(())),
    *cases_out_of_reach(
        _SOUND,
        folder=Stopped("OSError"),
        gone=Stopped("FileNotFoundError"),
    ),
)
