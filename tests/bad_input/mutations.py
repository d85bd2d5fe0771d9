"""Files that are damaged in ways that nobody thought of."""

from __future__ import annotations

import functools
import gzip
import random
import struct
from collections.abc import Callable

from pipelines.sources.framing import masked_checksum
from tests.bad_input.sound import csv_text, example, examples, image, json_lines, parquet, table
from tests.pipelines.sources.frames import frame, frames

# What parsers look for: lengths, marks, quotes, nesting.
_TOKENS = (
    b"\0", b"\xff", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 8, b'"', b'""', b",", b"\n", b"\r\n",
    b"{", b"}", b"[", b"]", b"[" * 300, b'{"a":' * 300, b"NaN", b"1e999", b"-0", b"\\u0000",
    b"\xef\xbb\xbf", b"\x1f\x8b\x08", b"\x78\x9c", b"PAR1", b"IDAT", b"IEND", b"\xff\xd8\xff",
    b"\xff\xd9", b"\xff\xc0", b"\xed\xa0\x80",
)  # fmt: skip


@functools.cache
def seeds(name: str) -> list[bytes]:
    """Sound files of a format, in all its kinds."""
    if name == "tfrecord":
        plain = frames(examples())
        return [
            plain,
            gzip.compress(plain, mtime=0),
            frame(plain) + plain,
            frames([example(x=None)] * 3),
        ]
    if name == "parquet":
        options = ({}, {"compression": "none", "use_dictionary": False}, {"row_group_size": 1})
        unsafe = {"write_page_checksum": False}
        return [parquet(table(), **(unsafe | option)) for option in options]
    if name == "images":
        return [image(13, 11, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")]
    plain = csv_text() + b'5.5,5,"a\nb""c"\n' if name == "csv" else json_lines()
    return [plain, gzip.compress(plain, mtime=0)]


def mutated(name: str, choose: random.Random) -> bytes:
    """A sound file with some bytes changed, left out, doubled, moved or put in."""
    files = seeds(name)
    data = bytearray(choose.choice(files))
    for _ in range(choose.randint(1, 6)):
        _mutate(data, choose, files)
    if name == "tfrecord" and choose.random() < 0.5:
        # Past the checksums: the framing is sound, the records are not.
        record = bytearray(choose.choice(examples()))
        _mutate(record, choose, examples())
        return frames([*examples()[:2], bytes(record)])
    return bytes(data)


def _mutate(data: bytearray, choose: random.Random, others: list[bytes]) -> None:
    at = choose.randrange(len(data) + 1)
    stop = min(len(data), at + choose.choice((1, 2, 4, 8, 30, 300)))
    changes: list[Callable[[], object]] = [
        lambda: data.__setitem__(slice(at, stop), b""),
        lambda: data.__setitem__(slice(at, at), data[at:stop]),
        lambda: data.__setitem__(slice(at, stop), bytes(255 - byte for byte in data[at:stop])),
        lambda: data.__setitem__(slice(at, stop), choose.randbytes(stop - at)),
        lambda: data.__setitem__(slice(at, at), choose.choice(_TOKENS)),
        lambda: data.__setitem__(slice(at, stop), choose.choice(_TOKENS)),
        lambda: data.__setitem__(slice(at, None), choose.choice(others)[at:]),
        lambda: data.__setitem__(slice(at, None), b""),
        lambda: data.__setitem__(slice(at, at), _header(choose)),
    ]
    choose.choice(changes)()


def _header(choose: random.Random) -> bytes:
    length = struct.pack("<Q", choose.choice((0, 1, 20, 2**20, 2**31 - 1, 2**31, 2**63)))
    return length + struct.pack("<I", masked_checksum(length))
