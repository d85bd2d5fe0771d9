"""Damaged TFRecord files."""

from __future__ import annotations

import gzip
import struct

from pipelines.sources.framing import masked_checksum
from tests.bad_input.cases import Case, cases_out_of_reach, flipped, no_bytes, stored_gzip, writing
from tests.bad_input.outcomes import Failed, Refused, Scored, Stopped
from tests.bad_input.sound import example, examples
from tests.pipelines.sources.frames import frame, frames, offsets

_STARTS = offsets(examples())


def _header(length: int) -> bytes:
    encoded = struct.pack("<Q", length)
    return encoded + struct.pack("<I", masked_checksum(encoded))


def _with(index: int, record: bytes) -> bytes:
    records = examples()
    records[index] = record
    return frames(records)


_SOUND = frames(examples())

CASES = (
    Case(
        "truncated",
        "the last record's last byte is missing",
        writing(_SOUND[:-1]),
        Scored(
            (0, 1, 2),
            (Failed(3, "read", "DamagedFileError", "is not complete: the file is cut off"),),
        ),
    ),
    Case(
        "truncated",
        "gzipped, the last 20 bytes are missing",
        writing(stored_gzip(_SOUND)[:-20]),
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
        "in a record",
        writing(flipped(_SOUND, _STARTS[1] + 20)),
        Scored(
            (0, 2, 3),
            (Failed(1, "read", "ChecksumError", "expected a record whose checksum fits"),),
        ),
    ),
    Case(
        "bit flips",
        "in a record's length",
        writing(flipped(_SOUND, _STARTS[1])),
        Scored((0, 2, 3), (Failed(1, "read", "DamagedFileError", "no record starts at byte 70"),)),
    ),
    Case(
        "bit flips",
        "gzipped, in a record; gzip has a checksum of all",
        writing(flipped(stored_gzip(_SOUND), 15 + _STARTS[1] + 20)),
        Scored(
            (0, 2, 3),
            (
                Failed(1, "read", "ChecksumError", "expected a record whose checksum fits"),
                Failed(4, "read", "DamagedFileError", "the compressed data are damaged"),
            ),
        ),
    ),
    Case(
        "wrong magic",
        "no TFRecords: a PDF's first bytes",
        writing(b"%PDF-1.7\n" * 40),
        Scored((), (Failed(0, "read", "DamagedFileError", "no record starts at byte 0"),)),
    ),
    Case(
        "wrong magic",
        "a gzip's first bytes, then others",
        writing(b"\x1f\x8b\x08" + b"x" * 99),
        Scored((), (Failed(0, "read", "DamagedFileError", "the compressed data are damaged"),)),
    ),
    Case(
        "wrong type",
        "`x` of integers in one record",
        writing(_with(1, example(x=[1, 2, 3], n=[1], text=["a"]))),
        Scored(
            (0, 2, 3),
            (Failed(1, "decode", "ExampleError", "expected a tf.Example of the planned features"),),
        ),
    ),
    Case(
        "wrong type",
        "one record is no tf.Example",
        writing(_with(1, b"\xff\xff")),
        Scored(
            (0, 2, 3),
            (Failed(1, "decode", "ExampleError", "expected a tf.Example of the planned features"),),
        ),
    ),
    Case(
        "null",
        "`x` without values in one record",
        writing(_with(1, example(x=None, n=[1], text=["a"]))),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case(
        "NaN",
        "in `x`",
        writing(_with(1, example(x=[1.0, float("nan"), 0.0], n=[1], text=["a"]))),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "wrong length",
        "four values of `x` in one record",
        writing(_with(1, example(x=[1.0] * 4, n=[1], text=["a"]))),
        Scored((0, 2, 3), (Failed(1, "convert", "ShapeError", "Received: float32[4]"),)),
    ),
    Case(
        "wrong length",
        "two values of `n`, of which others have one",
        writing(_with(1, example(x=[1.0] * 3, n=[1, 2], text=["a"]))),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "over-large length field",
        "a length of 2^31 - 1, its checksum right",
        writing(_SOUND[: _STARTS[1]] + _header(2**31 - 1) + _SOUND[_STARTS[1] + 12 :]),
        Scored(
            (0, 2, 3),
            (Failed(1, "read", "DamagedFileError", "is not complete: the file is cut off"),),
        ),
    ),
    Case(
        "over-large length field",
        "a length of 2^62, its checksum right",
        writing(_SOUND[: _STARTS[1]] + _header(2**62) + _SOUND[_STARTS[1] + 12 :]),
        Scored((0, 2, 3), (Failed(1, "read", "DamagedFileError", "no record starts at byte 70"),)),
    ),
    Case(
        "over-large length field",
        "gzipped, a length of 2^31 - 1",
        writing(
            gzip.compress(_SOUND[: _STARTS[1]] + _header(2**31 - 1) + _SOUND[_STARTS[1] + 12 :])
        ),
        Scored(
            (0,), (Failed(1, "read", "DamagedFileError", "is not complete: the file is cut off"),)
        ),
    ),
    Case(
        "bomb",
        "gzipped, a record of 64 MiB of zeros, `--max_record_bytes 1MiB`",
        writing(gzip.compress(frame(examples()[0]) + frame(bytes(2**26)) + frame(examples()[2]))),
        Scored((0, 2), (Failed(1, "read", "RecordSizeError", "expected a record of at most"),)),
        source={"max_record_bytes": 2**20},
    ),
    Case(
        "invalid UTF-8",
        "in a feature of bytes",
        writing(_with(1, example(x=[1.0, 2.0, 3.0], n=[1], text=[b"\xff"]))),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "invalid UTF-8",
        "in the name of a feature",
        writing(_with(1, examples()[1].replace(b"text", b"t\xffxt"))),
        Scored(
            (0, 2, 3),
            (Failed(1, "decode", "ExampleError", "expected a tf.Example of the planned features"),),
        ),
    ),
    Case(
        "duplicate columns",
        "a record has `n` twice",
        writing(_with(1, examples()[1] + example(n=[7]))),
        Scored((0, 1, 2, 3)),
    ),
    Case(
        "missing columns",
        "a record lacks `x`",
        writing(_with(1, example(n=[1], text=["a"]))),
        Scored((0, 2, 3), (Failed(1, "convert", "NullValueError", "Received: null."),)),
    ),
    Case(
        "missing columns",
        "all records lack `x`",
        writing(frames([example(n=[1])] * 4)),
        Scored(
            (),
            tuple(
                Failed(row, "convert", "NullValueError", "Received: null.") for row in (0, 1, 2, 3)
            ),
        ),
        Refused("expected column 'n' as float32[?,3]. Received: int64"),
    ),
    Case(
        "schema that changes between files",
        "`x` of strings, one more feature",
        writing(frames([example(x=["a"], n=[1], more=[2])] * 4)),
        Scored(
            (),
            tuple(
                Failed(
                    row, "decode", "ExampleError", "expected a tf.Example of the planned features"
                )
                for row in (0, 1, 2, 3)
            ),
        ),
        Refused("Received: large_binary (string is not cast to float32)"),
    ),
    Case("empty file", "0 bytes", no_bytes, Scored(())),
    *cases_out_of_reach(
        _SOUND,
        folder=Stopped("IsADirectoryError"),
        gone=Stopped("FileNotFoundError"),
    ),
)
