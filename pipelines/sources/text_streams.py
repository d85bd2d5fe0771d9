"""Text files on their way into a parser: whole lines, valid UTF-8, and no surprise at a cut."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.sources.streams import DamagedFileError

# What a line may hold before the file is taken for something else than text.
MAX_LINE_BYTES = 256 * 2**20

# Precedes bytes that are no UTF-8, each as the character of its number: no text uses it.
NO_UTF8 = "\ufdd0"
_ESCAPED = re.compile("[\udc80-\udcff]")
_REPLACED = re.compile(f"{NO_UTF8}([\x80-\xff])")


def lines(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The lines of a text, without surrounding white space; blank ones are left out.

    Yields:
      As many lines as each chunk completes.

    Raises:
      DamagedFileError: after the last whole line before a cut, or at a line that is too long.
    """
    pieces: list[bytes] = []
    held_bytes = 0
    for chunk in chunks:
        head, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            pieces.append(chunk)
            held_bytes += len(chunk)
            if held_bytes > MAX_LINE_BYTES:
                raise _too_long(MAX_LINE_BYTES)
            continue
        pieces.append(head)
        yield _filled(b"".join(pieces))
        pieces, held_bytes = [rest], len(rest)
    yield _filled(b"".join(pieces))


def _filled(text: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, text.split(b"\n")) if line]


def _too_long(limit: int) -> DamagedFileError:
    return DamagedFileError(f"a line has more than {limit} bytes")


class LineStream:
    """A readable file of whole lines, for parsers that want to pull.

    Attributes:
      damage: why the text ends early, once that is known; the cut line is not given.
      has_replaced: whether there were bytes that are no UTF-8, given after a `NO_UTF8` each.
      quotes: how many double quotes there were so far.
    """

    def __init__(self, chunks: Iterator[bytes], max_line_bytes: int) -> None:
        """Takes the text; a line longer than `max_line_bytes` is damage."""
        self._chunks = chunks
        self._max_line_bytes = max_line_bytes
        self._ready = bytearray()
        self._held = b""
        self._ended = False
        self.closed = False
        self.damage: DamagedFileError | None = None
        self.has_replaced = False
        self.quotes = 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        while len(self._ready) < size and not self._ended:
            self._fill()
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def stored(self, text: str) -> bytes:
        """A piece of what was given, as it stands in the file."""
        if not self.has_replaced:
            return text.encode()
        escaped = _REPLACED.sub(lambda match: chr(ord(match[1]) + 0xDC00), text)
        return escaped.encode(errors="surrogateescape")

    def close(self) -> None:
        """Ends reading; the text's own file is not closed."""
        self.closed = True

    def _fill(self) -> None:
        try:
            chunk = next(self._chunks, None)
        except DamagedFileError as error:
            self.damage = error
            self._ended = True
            return
        if chunk is None:
            self._ended = True
            # Parsers want the last line to end like the others.
            self._give(self._held + b"\n" if self._held.strip() else b"")
            return
        head, newline, self._held = (self._held + chunk).rpartition(b"\n")
        self._give(head + newline)
        if len(self._held) > self._max_line_bytes:
            self.damage = _too_long(self._max_line_bytes)
            self._ended = True

    def _give(self, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            self.has_replaced = True
            escaped = text.decode(errors="surrogateescape")
            marked = _ESCAPED.sub(lambda match: NO_UTF8 + chr(ord(match[0]) - 0xDC00), escaped)
            text = marked.encode()
        self.quotes += text.count(b'"')
        self._ready += text
