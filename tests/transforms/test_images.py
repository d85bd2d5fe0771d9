"""Decoded pixels against Pillow's, file by file."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transforms.column_types import is_image
from transforms.image_headers import read_header
from transforms.images import ImageError, decode_image, images_to_column

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def pixels(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth noise: flat enough for JPEG, rough enough to show rounding."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, channels), np.uint8)
    return cv2.resize(small, (width, height)).reshape(height, width, channels)


def picture(mode: str, height: int = 37, width: int = 51, seed: int = 0) -> Image.Image:
    if mode == "P":
        return picture("RGB", height, width, seed).quantize(40)
    if mode == "1":
        return picture("L", height, width, seed).convert("1")
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = pixels(height, width, channels, seed)
    return Image.fromarray(values[..., 0] if channels == 1 else values, mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_pillow(encoded: bytes, channels: int) -> np.ndarray:
    values = np.asarray(Image.open(io.BytesIO(encoded)).convert(MODES[channels]))
    return values.reshape(*values.shape[:2], channels)


def chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + checksum


def with_chunk(png: bytes, kind: bytes, payload: bytes) -> bytes:
    """The PNG with one more chunk behind its header."""
    return png[:33] + chunk(kind, payload) + png[33:]


def interlaced_png(values: np.ndarray) -> bytes:
    """A PNG in Adam7 order, which neither Pillow nor OpenCV writes."""
    height, width, channels = values.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    data = b""
    for top, left, down, right in [*passes, (1, 0, 2, 1)]:
        part = values[top::down, left::right]
        if part.size:
            data += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def sampled_jpeg(factor: int) -> bytes:
    flags = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    return cv2.imencode(".jpg", pixels(37, 51, 3), flags)[1].tobytes()


FILES = {
    **{
        f"jpeg {mode} {quality} {subsampling} {progressive}": saved(
            picture(mode), "JPEG", quality=quality, subsampling=subsampling, progressive=progressive
        )
        for mode in ("L", "RGB")
        for quality in (30, 95)
        for subsampling in (0, 1, 2)
        for progressive in (False, True)
    },
    "jpeg 4:1:1": sampled_jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "jpeg 4:4:0": sampled_jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    "jpeg CMYK": saved(picture("CMYK"), "JPEG"),
    "jpeg stored as RGB": saved(picture("RGB"), "JPEG", keep_rgb=True),
    "jpeg optimised": saved(picture("RGB"), "JPEG", optimize=True, restart_marker_rows=1),
    "jpeg turned": saved(picture("RGB"), "JPEG", exif=turned(6)),
    "jpeg of one pixel": saved(picture("RGB", 1, 1), "JPEG"),
    **{f"png {mode}": saved(picture(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "png 2 bits": saved(picture("RGB").quantize(4), "PNG", bits=2),
    "png of one transparent index": saved(picture("P"), "PNG", transparency=3),
    "png of transparent indices": saved(picture("RGBA").quantize(40), "PNG"),
    "png of a transparent colour": saved(
        picture("RGB"), "PNG", transparency=picture("RGB").getpixel((3, 4))
    ),
    "png of a transparent gray": saved(
        picture("L"), "PNG", transparency=picture("L").getpixel((3, 4))
    ),
    "png 16 bits gray": saved(
        Image.fromarray(pixels(37, 51, 1)[..., 0].astype(np.uint16) * 257 + 3), "PNG"
    ),
    "png 16 bits": cv2.imencode(".png", pixels(9, 7, 3).astype(np.uint16) * 257 + 3)[1].tobytes(),
    "png turned": saved(picture("RGB"), "PNG", exif=turned(8)),
    "png with gamma": with_chunk(saved(picture("RGB"), "PNG"), b"gAMA", struct.pack(">I", 220000)),
    "png animated": saved(
        picture("RGB"), "PNG", save_all=True, append_images=[picture("RGB", seed=1)]
    ),
    **{f"png interlaced {count}": interlaced_png(pixels(37, 51, count)) for count in (1, 2, 3, 4)},
    "gif": saved(picture("P"), "GIF"),
    "gif animated": saved(picture("P"), "GIF", save_all=True, append_images=[picture("P", seed=1)]),
    "bmp": saved(picture("RGB"), "BMP"),
    "tiff": saved(picture("RGB"), "TIFF"),
    "webp": saved(picture("RGB"), "WEBP"),
    "webp lossless": saved(picture("RGBA"), "WEBP", lossless=True),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", FILES)
def test_pixels_equal_those_of_pillow(name: str, channels: int) -> None:
    decoded = decode_image(FILES[name], channels)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, by_pillow(FILES[name], channels))


@pytest.mark.parametrize("name", ["jpeg RGB 95 2 False", "jpeg L 30 0 True", "png RGB", "png P"])
def test_common_files_are_decoded_without_pillow(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", None)
    for channels in MODES:
        assert decode_image(FILES[name], channels).shape == (37, 51, channels)


@settings(max_examples=150)
@given(
    name=st.sampled_from(["jpeg RGB 95 2 False", "jpeg L 30 0 True", "png RGB", "png P", "gif"]),
    cut=st.floats(0, 1),
    damage=st.sampled_from(["truncated", "truncated with an end", "with bytes lost"]),
)
def test_damaged_files_fare_as_with_pillow(name: str, cut: float, damage: str) -> None:
    whole = FILES[name]
    at = int(cut * len(whole))
    ends = {"jpeg": b"\xff\xd9", "png ": whole[-12:], "gif": b";"}
    rest = {
        "truncated": b"",
        "truncated with an end": ends[name[:4]],
        "with bytes lost": whole[at + 7 :],
    }
    damaged = whole[:at] + rest[damage]
    try:
        expected = by_pillow(damaged, 3)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        # Pillow also minds damage behind the last pixel, where OpenCV has stopped reading.
        if damage != "with bytes lost":
            with pytest.raises(ImageError, match="expected an image file"):
                decode_image(damaged, 3)
    else:
        np.testing.assert_array_equal(decode_image(damaged, 3), expected)


def test_what_is_no_image_is_told_by_its_first_bytes() -> None:
    with pytest.raises(ImageError) as refused:
        decode_image(b"no image", 3)
    assert str(refused.value) == (
        "expected an image file. Received: 8 bytes that start with b'no image', which Pillow "
        "does not recognise."
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("least_size", [(4, 6), (4, 7), (9, 12), (10, 12), (18, 25), (19, 25)])
@pytest.mark.parametrize("name", FILES)
def test_only_jpegs_are_decoded_smaller_and_as_with_pillow(
    name: str, least_size: tuple[int, int], channels: int
) -> None:
    image = Image.open(io.BytesIO(FILES[name]))
    if image.format == "JPEG":
        image.draft(None, (least_size[1], least_size[0]))
    expected = np.asarray(image.convert(MODES[channels]))
    decoded = decode_image(FILES[name], channels, least_size=least_size)
    np.testing.assert_array_equal(decoded, expected.reshape(*expected.shape[:2], channels))


@pytest.mark.parametrize(
    ("least_size", "shape"),
    [((4, 6), (5, 7)), ((4, 7), (10, 13)), ((18, 25), (19, 26)), ((19, 25), (37, 51))],
)
def test_a_jpeg_stays_at_least_of_the_size_asked_for(
    least_size: tuple[int, int], shape: tuple[int, int]
) -> None:
    decoded = decode_image(FILES["jpeg RGB 95 2 False"], 3, least_size=least_size)
    assert decoded.shape == (*shape, 3)


def test_the_stored_size_is_limited_where_jpegs_are_decoded_smaller() -> None:
    for name in ("jpeg RGB 95 2 False", "jpeg CMYK"):
        with pytest.raises(ImageError, match="Received: an image of 51 x 37"):
            decode_image(FILES[name], 3, max_pixels=37 * 51 - 1, least_size=(4, 6))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_the_size_is_limited(kind: str) -> None:
    file = saved(picture("L", 10, 20), kind)
    assert decode_image(file, 3, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(
        ImageError, match=r"expected at most 199 pixels\. Received: an image of 20 x 10"
    ):
        decode_image(file, 3, max_pixels=199)


def test_a_bomb_is_refused_by_its_header() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="Received: an image of 60000 x 60000"):
        decode_image(b"\x89PNG\r\n\x1a\n" + header + body, 3)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]))
def test_no_bytes_break_the_header_reader(rest: bytes, start: bytes) -> None:
    header = read_header(start + rest)
    assert header is None or header.width * header.height >= 0
    with pytest.raises(ImageError):
        decode_image(start + rest, 3)


def test_images_of_one_size_become_a_tensor_column() -> None:
    images = [pixels(3, 4, 3, seed) for seed in range(3)]
    column = images_to_column([images[0], None, images[2]])
    column.validate(full=True)
    assert (column.type.shape, column.null_count) == ([3, 4, 3], 1)
    assert column.storage.to_pylist() == [
        images[0].reshape(-1).tolist(),
        None,
        images[2].reshape(-1).tolist(),
    ]


@pytest.mark.parametrize("sizes", [[(3, 4), (5, 2)], [None, None], []])
def test_images_of_several_sizes_become_a_struct_column(sizes: list[Any]) -> None:
    images = [None if size is None else pixels(*size, 3) for size in sizes]
    column = images_to_column(images)
    column.validate(full=True)
    assert is_image(column.type)
    assert column.to_pylist() == [
        None if image is None else {"data": image.reshape(-1).tolist(), "shape": list(image.shape)}
        for image in images
    ]


def test_a_chunk_that_claims_more_than_the_file_takes_no_memory() -> None:
    file = saved(picture("RGB"), "PNG")
    at = file.index(b"IDAT") - 4
    claimed = file[:at] + struct.pack(">I", 2**31 - 1) + file[at + 4 :]
    assert read_header(claimed) is None
    np.testing.assert_array_equal(decode_image(claimed, 3), decode_image(file, 3))


def test_only_formats_of_images_are_opened() -> None:
    for kind in ("PPM", "EPS", "ICO"):
        with pytest.raises(ImageError, match="does not recognise"):
            decode_image(saved(picture("RGB"), kind), 3)
