"""Damaged JSON-lines files."""

from __future__ import annotations

import gzip

from tests.bad_input.cases import Case, cases_out_of_reach, no_bytes, stored_gzip, writing
from tests.bad_input.outcomes import Failed, Refused, Scored, Stopped
from tests.bad_input.sound import json_lines

_SOUND = json_lines()
_DEEP = b'{"x": [1, 2, 3], "n": 1, "text": "a", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

CASES = (
    Case(
        "truncated",
        "within the last line",
        writing(_SOUND[:-9]),
        Scored((0, 1, 2), (Failed(3, "decode", "JsonError", "it is no object"),)),
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
        "in a bracket",
        writing(_SOUND.replace(b"[1,", b"\xa41,")),
        Scored((0, 2, 3), (Failed(1, "decode", "JsonError", "Invalid value"),)),
    ),
    Case(
        "bit flips",
        "in a line end: two lines are one",
        writing(_SOUND.replace(b"}\n", b"}\x75", 1)),
        Scored((1, 2), (Failed(0, "decode", "JsonError", "Invalid value"),)),
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
        "no JSON: zeros",
        writing(bytes(200)),
        Scored((), (Failed(0, "decode", "JsonError", "it is no object"),)),
        Refused("none on the first lines"),
    ),
    Case(
        "wrong magic",
        "one JSON array over several lines",
        writing(b"[\n" + _SOUND.replace(b"}\n", b"},\n") + b"{}\n]\n"),
        Scored(
            (),
            (
                Failed(0, "decode", "JsonError", "it is no object"),
                Failed(1, "decode", "JsonError", "it is no object"),
                Failed(2, "decode", "JsonError", "it is no object"),
                Failed(3, "decode", "JsonError", "it is no object"),
                Failed(4, "decode", "JsonError", "it is no object"),
                Failed(6, "decode", "JsonError", "it is no object"),
                Failed(5, "convert", "NullValueError", "Received: null."),
            ),
        ),
        Refused("none on the first lines"),
    ),
    Case(
        "wrong magic",
        "a gzip's first bytes, then others",
        writing(b"\x1f\x8b\x08" + b"x" * 99),
        Scored((), (Failed(0, "read", "DamagedFileError", "the compressed data are damaged"),)),
        Refused("none on the first lines"),
    ),
    Case(
        "wrong type",
        "text in `x`",
        writing(json_lines({1: {"x": "one"}})),
        Scored((0, 2, 3), (Failed(1, "decode", "JsonError", "changed from array to string"),)),
    ),
    Case(
        "wrong type",
        "a fraction in `n`, of which others have integers",
        writing(json_lines({1: {"n": 1.5}})),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "null",
        "`x`",
        writing(json_lines({1: {"x": None}})),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case(
        "null",
        "within `x`",
        writing(json_lines({1: {"x": [1, None, 3]}})),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case(
        "NaN",
        "in `x`, as JSON has none",
        writing(json_lines({1: '{"x": [1, NaN, 3], "n": 1, "text": "a"}'})),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "wrong length",
        "two values of `x`",
        writing(json_lines({1: {"x": [1, 2]}})),
        Scored((0, 2, 3), (Failed(1, "convert", "ShapeError", "Received: float64[2]"),)),
    ),
    Case(
        "over-large length field",
        "a line above `--max_record_bytes 1KiB`",
        writing(json_lines({1: {"text": "a" * 1025}})),
        Scored((0, 2, 3), (Failed(1, "read", "RecordSizeError", "expected a line of at most"),)),
        source={"max_record_bytes": 1024},
    ),
    Case(
        "over-large length field",
        "an integer beyond int64",
        writing(json_lines({1: {"n": 2**70}})),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "bomb",
        "gzipped, a line of 64 MiB, `--max_record_bytes 1MiB`",
        writing(gzip.compress(json_lines({1: {"text": "a" * 2**26}}))),
        Scored((0, 2, 3), (Failed(1, "read", "RecordSizeError", "expected a line of at most"),)),
        source={"max_record_bytes": 2**20},
    ),
    Case(
        "bomb",
        "100,000 brackets in one another, in a member that is not read",
        writing(json_lines({1: _DEEP})),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "bomb",
        "100,000 brackets in one another, in `x`",
        writing(json_lines({1: _DEEP.replace(b'"x"', b'"y"').replace(b"deep", b"x")})),
        Scored((0, 2, 3), (Failed(1, "decode", "JsonError", "changed from number to array"),)),
    ),
    Case(
        "invalid UTF-8",
        "in one line",
        writing(json_lines({1: b'{"x": [1, 2, 3], "n": 1, "text": "\xff"}'})),
        Scored((0, 2, 3), (Failed(1, "decode", "JsonError", "Invalid UTF8"),)),
    ),
    Case(
        "invalid UTF-8",
        "a member whose name is half of a surrogate pair",
        writing(json_lines({1: '{"x": [1, 2, 3], "n": 1, "text": "a", "\\ud800": 1}'})),
        Scored((0, 2, 3), (Failed(1, "decode", "JsonError", "The surrogate pair"),)),
    ),
    Case(
        "duplicate columns",
        "`n` twice in one line",
        writing(json_lines({1: '{"x": [1, 2, 3], "n": 1, "n": 2, "text": "a"}'})),
        Scored((0, 2, 3), (Failed(1, "decode", "JsonError", "was specified twice"),)),
    ),
    Case(
        "missing columns",
        "no `x` in one line",
        writing(json_lines({1: '{"n": 1, "text": "a"}'})),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case(
        "missing columns",
        "no `x` in any line",
        writing(b'{"n": 1, "text": "a"}\n' * 4),
        Scored(
            (),
            tuple(
                Failed(row, "convert", "NullValueError", "Received: null.") for row in (0, 1, 2, 3)
            ),
        ),
        Refused("expected column 'x' as float32[?,3], or one other column that fits"),
    ),
    Case(
        "schema that changes between files",
        "`n` of text, one more member",
        writing(b'{"x": [1, 2, 3], "n": "a", "more": 1}\n' * 4),
        Scored(
            (),
            tuple(
                Failed(row, "decode", "JsonError", "changed from number to string")
                for row in (0, 1, 2, 3)
            ),
        ),
        Scored((0, 1, 2, 3)),
    ),
    Case("empty file", "0 bytes", no_bytes, Scored(())),
    Case("empty file", "blank lines", writing(b"\n \n\n"), Scored(())),
    *cases_out_of_reach(
        _SOUND,
        folder=Stopped("IsADirectoryError"),
        gone=Stopped("FileNotFoundError"),
    ),
)
