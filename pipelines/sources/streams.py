"""Bytes of an open file in chunks, decompressed where they are compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

CHUNK_BYTES = 2**20

GZIP_MAGIC = b"\x1f\x8b\x08"
GZIP_WINDOW_BITS = 31
_ZLIB_WINDOW_BITS = 15


class DamagedFileError(Exception):
    """The rest of a file cannot be read: it is cut off or damaged."""


def gzip_or_zlib(head: bytes) -> int | None:
    """The window bits to inflate a stream that begins with `head`; None if it is neither."""
    if head.startswith(GZIP_MAGIC):
        return GZIP_WINDOW_BITS
    if len(head) >= 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return _ZLIB_WINDOW_BITS
    return None


def stored_chunks(handle: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file, as it is stored."""
    while chunk := handle.read(CHUNK_BYTES):
        yield chunk


def inflated(
    chunks: Iterable[bytes], window_bits: int, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """Decompresses a gzip (31) or zlib (15) stream of one or more members.

    Yields at most `chunk_bytes` at once, however well the data are compressed.

    Raises:
      DamagedFileError: after everything before the damage has been yielded.
    """
    member = zlib.decompressobj(window_bits)
    complete = True
    for chunk in chunks:
        pending, more = chunk, True
        while pending or more:
            if member.eof:
                # Padding after the last member is allowed, as gzip's own reader allows it.
                pending = pending.lstrip(b"\0")
                if not pending:
                    break
                member = zlib.decompressobj(window_bits)
            before = member.copy()
            try:
                data = member.decompress(pending, chunk_bytes)
            except zlib.error as error:
                yield from _until_damage(before, pending, chunk_bytes)
                raise DamagedFileError(f"the compressed data are damaged ({error})") from error
            if data:
                yield data
            pending = member.unused_data if member.eof else member.unconsumed_tail
            # Output that the size limit kept back comes without new input.
            more = bool(data) and not member.eof
        complete = member.eof
    if not complete:
        raise DamagedFileError("the compressed data end too early: the file is cut off")


def _until_damage(member: zlib._Decompress, pending: bytes, chunk_bytes: int) -> Iterator[bytes]:
    """What comes out of `pending` before the byte that raises."""
    ready = bytearray()
    for index in range(len(pending)):
        try:
            ready += member.decompress(pending[index : index + 1])
        except zlib.error:
            break
        if len(ready) >= chunk_bytes:
            yield bytes(ready)
            ready.clear()
    if ready:
        yield bytes(ready)
