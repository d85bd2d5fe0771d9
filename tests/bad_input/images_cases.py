"""Damaged image files."""

from __future__ import annotations

import struct
import zlib

from tests.bad_input.cases import Case, cases_out_of_reach, flipped, impossible, no_bytes, writing
from tests.bad_input.outcomes import Failed, Scored
from tests.bad_input.sound import image


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, color: int = 2, bits: int = 8, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(data, 9)) + _chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def _gif(width: int, height: int) -> bytes:
    content = bytearray(image(kind="GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def _text(text: bytes) -> bytes:
    whole = image()
    return whole[:33] + _chunk(b"iTXt", b"Title\0\0\0\0\0" + text) + whole[33:]


_SOUND = image()

CASES = (
    Case(
        "truncated",
        "half of it is missing",
        writing(image(90, 70)[:400]),
        Scored((), (Failed(0, "decode", "ImageError", "image file is truncated"),)),
    ),
    Case(
        "truncated",
        "a JPEG without its last 20 bytes",
        writing(image(90, 70, "JPEG")[:-20]),
        Scored((), (Failed(0, "decode", "ImageError", "image file is truncated"),)),
    ),
    Case(
        "bit flips",
        "in a PNG's pixels",
        writing(flipped(_SOUND, len(_SOUND) - 20)),
        Scored((), (Failed(0, "decode", "ImageError", "broken data stream"),)),
    ),
    Case(
        "bit flips",
        "in a PNG's header",
        writing(flipped(_SOUND, 20)),
        Scored((), (Failed(0, "decode", "ImageError", "expected at most 89478485 pixels"),)),
    ),
    Case(
        "bit flips",
        "in a JPEG's pixels, which have no checksum",
        writing(flipped(image(90, 70, "JPEG"), -200)),
        Scored((0,)),
    ),
    Case(
        "wrong magic",
        "no image: text",
        writing(b"not an image " * 9),
        Scored((), (Failed(0, "decode", "ImageError", "which Pillow does not recognise"),)),
    ),
    Case("wrong magic", "a JPEG in a file named .png", writing(image(kind="JPEG")), Scored((0,))),
    Case(
        "wrong type",
        "16 bits of gray",
        writing(_png(8, 8, 0, 16, (b"\0" + bytes(16)) * 8)),
        Scored((0,)),
    ),
    impossible("null", "a file is a row"),
    impossible("NaN", "pixels are integers"),
    Case(
        "wrong length",
        "another height and width: it is resized",
        writing(image(30, 20)),
        Scored((0,)),
    ),
    Case(
        "wrong length",
        "fewer rows of pixels than its header says",
        writing(_png(8, 8, 2, 8, (b"\0" + bytes(24)) * 4)),
        Scored((0,)),
    ),
    Case(
        "over-large length field",
        "a PNG chunk of 2^31 - 1 bytes",
        writing(_SOUND[:33] + b"\x7f\xff\xff\xff" + _SOUND[37:]),
        Scored((0,)),
    ),
    Case(
        "bomb",
        "a PNG of 60,000 x 60,000 pixels by its header",
        writing(_png(60_000, 60_000)),
        Scored((), (Failed(0, "decode", "ImageError", "expected at most 89478485 pixels"),)),
    ),
    Case(
        "bomb",
        "a GIF of 65,535 x 65,535 pixels by its header",
        writing(_gif(65_535, 65_535)),
        Scored((), (Failed(0, "decode", "ImageError", "expected at most 89478485 pixels"),)),
    ),
    Case(
        "bomb",
        "a PNG with 30,000 x 3,001 zeros",
        writing(_png(30_000, 3_001, 0, 8, bytes(30_001 * 3_001))),
        Scored((), (Failed(0, "decode", "ImageError", "expected at most 89478485 pixels"),)),
    ),
    Case(
        "bomb",
        "a file longer than `--max_record_bytes 100`",
        writing(image(90, 70)),
        Scored((), (Failed(0, "read", "RecordSizeError", "expected an image file of at most"),)),
        source={"max_record_bytes": 100},
    ),
    Case("invalid UTF-8", "in a PNG's text", writing(_text(b"\xff\xfe")), Scored((0,))),
    impossible("duplicate columns", "there is one column"),
    impossible("missing columns", "there is one column"),
    Case(
        "schema that changes between files",
        "gray with transparency, where others have colour",
        writing(_png(2, 2, 4, 8, b"\0\1\2\3\4" * 2)),
        Scored((0,)),
    ),
    Case(
        "empty file",
        "0 bytes",
        no_bytes,
        Scored((), (Failed(0, "decode", "ImageError", "which Pillow does not recognise"),)),
    ),
    *cases_out_of_reach(
        _SOUND,
        folder=Scored((), (Failed(0, "read", "IsADirectoryError", "Is a directory"),)),
        gone=Scored((), (Failed(0, "read", "FileNotFoundError", "No such file or directory"),)),
    ),
)
