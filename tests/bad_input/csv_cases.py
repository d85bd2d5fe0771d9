"""Damaged CSV files."""

from __future__ import annotations

import gzip

from tests.bad_input.cases import Case, cases_out_of_reach, no_bytes, stored_gzip, writing
from tests.bad_input.outcomes import Failed, Refused, Scored, Stopped
from tests.bad_input.sound import csv_text

_SOUND = csv_text()
_LINES = _SOUND.splitlines(keepends=True)


def _with(index: int, line: bytes) -> bytes:
    return b"".join([*_LINES[: index + 1], line + b"\n", *_LINES[index + 2 :]])


CASES = (
    Case(
        "truncated",
        "within the last record's second field",
        writing(_SOUND[:-5]),
        Scored((0, 1, 2), (Failed(3, "decode", "CsvError", "expected 3 fields. Received: 2"),)),
    ),
    Case(
        "truncated",
        "within quotes",
        writing(_SOUND + b'9,9,"a'),
        Scored(
            (0, 1, 2, 3),
            (Failed(4, "read", "DamagedFileError", "a record has a quote that nothing closes"),),
        ),
    ),
    Case(
        "truncated",
        "gzipped, the last 12 bytes are missing",
        writing(stored_gzip(_SOUND)[:-12]),
        Scored(
            (0, 1, 2),
            (
                Failed(
                    3,
                    "read",
                    "DamagedFileError",
                    "the compressed data end too early: the file is cut off",
                ),
            ),
        ),
    ),
    Case(
        "bit flips",
        "in a number",
        writing(_SOUND.replace(b"1.5", b"\xce.5")),
        Scored(
            (0, 2, 3), (Failed(1, "decode", "CsvError", "expected UTF-8. Received: other bytes"),)
        ),
    ),
    Case(
        "bit flips",
        "a quote that nothing closes",
        writing(_with(1, b'1.5,1,"1')),
        Scored(
            (0,),
            (Failed(1, "read", "DamagedFileError", "a record has a quote that nothing closes"),),
        ),
    ),
    Case(
        "bit flips",
        "gzipped, in a number; only gzip has a checksum",
        writing(stored_gzip(_SOUND).replace(b"1.5", b"9.5")),
        Scored(
            (0, 1, 2, 3),
            (Failed(4, "read", "DamagedFileError", "the compressed data are damaged"),),
        ),
    ),
    Case(
        "wrong magic",
        "no CSV: zeros",
        writing(bytes(200)),
        Scored((), (Failed(0, "read", "DamagedFileError", "expected a header of UTF-8 text"),)),
        Refused("expected a header of UTF-8 text"),
    ),
    Case(
        "wrong magic",
        "no CSV: UTF-16",
        writing(_SOUND.decode().encode("utf-16")),
        Scored((), (Failed(0, "read", "DamagedFileError", "expected a header of UTF-8 text"),)),
        Refused("expected a header of UTF-8 text"),
    ),
    Case(
        "wrong magic",
        "no CSV: a PNG's bytes",
        writing(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256))),
        Scored(
            (),
            (
                Failed(0, "read", "KeyError", "expected column 'x', as in the first file"),
                Failed(1, "read", "KeyError", "expected column 'x', as in the first file"),
                Failed(2, "read", "KeyError", "expected column 'x', as in the first file"),
                Failed(3, "read", "KeyError", "expected column 'x', as in the first file"),
                Failed(4, "decode", "CsvError", "expected UTF-8. Received: other bytes"),
            ),
        ),
        Refused("Received: string (string is not cast to float32)"),
    ),
    Case(
        "wrong magic",
        "a gzip's first bytes, then others",
        writing(b"\x1f\x8b\x08" + b"x" * 99),
        Scored((), (Failed(0, "read", "DamagedFileError", "the compressed data are damaged"),)),
        Refused("whose first record cannot be read"),
    ),
    Case(
        "wrong type",
        "text in a column of numbers",
        writing(_with(1, b"one,1,a")),
        Scored((0, 2, 3), (Failed(1, "decode", "CsvError", "column 'x' is no double"),)),
    ),
    Case(
        "null",
        "an empty field in `x`",
        writing(_with(1, b",1,a")),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case("NaN", "in `x`", writing(_with(1, b"nan,1,a")), Scored((0, 1, 2, 3))),
    Case(
        "wrong length",
        "a field too few, one too many",
        writing(_with(1, b"1.5,1\n1.5,1,a,b")),
        Scored(
            (0, 3, 4),
            (
                Failed(1, "decode", "CsvError", "expected 3 fields. Received: 2"),
                Failed(2, "decode", "CsvError", "expected 3 fields. Received: 4"),
            ),
        ),
    ),
    Case(
        "over-large length field",
        "a record above `--max_record_bytes 1KiB`",
        writing(_with(1, b"1.5,1," + b"a" * 1025)),
        Scored((0, 2, 3), (Failed(1, "read", "RecordSizeError", "expected a record of at most"),)),
        source={"max_record_bytes": 1024},
    ),
    Case(
        "bomb",
        "gzipped, 64 MiB in one field",
        writing(gzip.compress(_with(1, b"1.5,1," + b"a" * 2**26))),
        Scored((0, 2, 3), (Failed(1, "read", "RecordSizeError", "expected a record of at most"),)),
    ),
    Case(
        "invalid UTF-8",
        "in one record",
        writing(_with(1, b"1.5,1,\xff")),
        Scored(
            (0, 2, 3), (Failed(1, "decode", "CsvError", "expected UTF-8. Received: other bytes"),)
        ),
    ),
    Case(
        "invalid UTF-8",
        "in the header",
        writing(_SOUND.replace(b"text", b"t\xffxt")),
        Scored(
            (),
            tuple(
                Failed(row, "read", "KeyError", "expected column 'text', as in the first file")
                for row in (0, 1, 2, 3)
            ),
        ),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "duplicate columns",
        "`n` twice in the header",
        writing(_SOUND.replace(b"text", b"n")),
        Scored(
            (), (Failed(0, "read", "DamagedFileError", "the header names columns alike: x, n, n"),)
        ),
        Refused("the header names columns alike: x, n, n"),
    ),
    Case(
        "missing columns",
        "no `x` in the header",
        writing(_SOUND.replace(b"x,n", b"y,n")),
        Scored(
            (),
            tuple(
                Failed(row, "read", "KeyError", "expected column 'x', as in the first file")
                for row in (0, 1, 2, 3)
            ),
        ),
        Refused("expected column 'x' as float32[?], or one other column that fits"),
    ),
    Case(
        "missing columns",
        "no `text`, which is only kept",
        writing(_SOUND.replace(b"text", b"t")),
        Scored(
            (),
            tuple(
                Failed(row, "read", "KeyError", "expected column 'text', as in the first file")
                for row in (0, 1, 2, 3)
            ),
        ),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "schema that changes between files",
        "columns in another order",
        writing(csv_text([["a", 1, 0.5], ["b", 2, 1.5]], ["text", "n", "x"])),
        Scored((0, 1)),
    ),
    Case(
        "schema that changes between files",
        "text where others have numbers",
        writing(csv_text([["a", "b", "c"]] * 2)),
        Scored(
            (),
            tuple(Failed(row, "decode", "CsvError", "column 'x' is no double") for row in (0, 1)),
        ),
        Refused("Received: string (string is not cast to float32)"),
    ),
    Case("empty file", "0 bytes", no_bytes, Scored(())),
    Case("empty file", "a header alone", writing(_LINES[0]), Scored(())),
    *cases_out_of_reach(
        _SOUND,
        folder=Stopped("IsADirectoryError"),
        gone=Stopped("FileNotFoundError"),
    ),
)
