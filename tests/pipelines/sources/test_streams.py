from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.streams import (
    DamagedFileError,
    gzip_or_zlib,
    inflated,
)
from tests.pipelines.sources.reading import damaged

GZIP, ZLIB = 31, 15


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def drained(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """What came out, and whether the end was damaged."""
    got = []
    try:
        for chunk in chunks:
            got.append(chunk)
    except DamagedFileError:
        return b"".join(got), True
    return b"".join(got), False


@pytest.mark.parametrize(("compress", "bits"), [(gzip.compress, GZIP), (zlib.compress, ZLIB)])
@pytest.mark.parametrize("piece_bytes", [1, 7, 100_000])
def test_inflates_what_was_compressed(compress, bits, piece_bytes):
    data = bytes(range(256)) * 40 + b"\0" * 5000
    assert gzip_or_zlib(compress(data)) == bits
    assert drained(inflated(pieces(compress(data), piece_bytes), bits)) == (data, False)


def test_inflates_several_members_and_padding():
    data = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two") + b"\0" * 9
    assert drained(inflated(pieces(data, 4), GZIP)) == (b"onetwo", False)


def test_plain_data_are_not_taken_for_compressed_ones():
    assert gzip_or_zlib(b"") is None
    assert gzip_or_zlib(b"x") is None
    assert gzip_or_zlib(b'{"a": 1}') is None


def test_output_is_bounded_however_well_it_was_compressed():
    compressed = gzip.compress(bytes(50 * 2**20))
    chunks = list(inflated(pieces(compressed, 2**20), GZIP, chunk_bytes=2**16))
    assert sum(map(len, chunks)) == 50 * 2**20
    assert max(map(len, chunks)) <= 2**16


@settings(max_examples=60)
@given(
    data=st.binary(min_size=1, max_size=3000),
    cut=st.floats(0, 1, exclude_max=True),
    piece_bytes=st.integers(1, 500),
)
def test_gives_all_before_a_cut_and_then_raises(data, cut, piece_bytes):
    compressed = gzip.compress(data)
    length = max(1, int(cut * len(compressed)))
    got, is_damaged = drained(inflated(pieces(compressed[:length], piece_bytes), GZIP))
    reference = zlib.decompressobj(GZIP).decompress(compressed[:length])
    assert (got, is_damaged) == (reference, True)


@settings(max_examples=60)
@given(flip=st.floats(0, 1, exclude_max=True), piece_bytes=st.integers(1, 500))
def test_gives_all_before_damage_and_then_raises(flip, piece_bytes):
    data = b"".join(b"%d," % number for number in range(2000))
    compressed = gzip.compress(data)
    # The ten bytes of the header hold fields that nothing checks.
    position = 10 + int(flip * (len(compressed) - 10))
    broken = damaged(compressed, [position])
    whole, is_damaged = drained(inflated([broken], GZIP))
    assert is_damaged
    assert drained(inflated(pieces(broken, piece_bytes), GZIP)) == (whole, True)
