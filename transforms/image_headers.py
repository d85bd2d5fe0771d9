"""Size and layout of an encoded image, read from its first bytes before anything is decoded."""

from __future__ import annotations

import struct
from typing import NamedTuple

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"

_GRAY, _GRAY_ALPHA, _COLOR_ALPHA = 0, 4, 6
# Baseline, extended and progressive Huffman frames.
_FRAME_MARKERS = (0xC0, 0xC1, 0xC2)
_OTHER_FRAME_MARKERS = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_SCAN_MARKER = 0xDA


class ImageHeader(NamedTuple):
    """What the first bytes of a PNG or JPEG say.

    Attributes:
      width: columns of pixels.
      height: rows of pixels.
      is_jpeg: the decoder can shrink it on the way.
      is_gray: one channel and nothing else.
      has_alpha: a channel of its own says how opaque a pixel is.
      is_plain: eight bits a channel, whole at its end, and none of the rarer features
        (CMYK, transparent colours, animation) that decoders treat differently.
    """

    width: int
    height: int
    is_jpeg: bool
    is_gray: bool
    has_alpha: bool
    is_plain: bool


def read_header(encoded: bytes) -> ImageHeader | None:
    """The header of a PNG or JPEG; None for other formats and for broken headers."""
    try:
        if encoded.startswith(_PNG_SIGNATURE):
            return _read_png(encoded)
        if encoded.startswith(_JPEG_START):
            return _read_jpeg(encoded)
    except (struct.error, IndexError):
        return None
    return None


def _read_png(encoded: bytes) -> ImageHeader | None:
    length, kind, width, height, bits, color = struct.unpack_from(">I4sIIBB", encoded, 8)
    if kind != b"IHDR":
        return None
    plain = bits == 8 and encoded.endswith(_PNG_END)
    position = 8 + 12 + length
    is_before_pixels = True
    # A decoder may set memory aside for a chunk of any length: all have to lie in the file.
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, position)
        is_before_pixels = is_before_pixels and kind != b"IDAT"
        plain = plain and not (is_before_pixels and kind in (b"tRNS", b"acTL"))
        position += 12 + length
    plain = plain and position == len(encoded)
    has_alpha = color in (_GRAY_ALPHA, _COLOR_ALPHA)
    return ImageHeader(width, height, False, color == _GRAY, has_alpha, plain)


def _read_jpeg(encoded: bytes) -> ImageHeader | None:
    position = 2
    while True:
        if encoded[position] != 0xFF:
            return None
        marker = encoded[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        (length,) = struct.unpack_from(">H", encoded, position + 2)
        if marker in _FRAME_MARKERS or marker in _OTHER_FRAME_MARKERS:
            bits, height, width, channels = struct.unpack_from(">BHHB", encoded, position + 4)
            plain = marker in _FRAME_MARKERS and bits == 8 and channels in (1, 3) and height > 0
            plain = plain and encoded.endswith(_JPEG_END)
            return ImageHeader(width, height, True, channels == 1, False, plain)
        if marker == _SCAN_MARKER:
            return None
        position += 2 + length
