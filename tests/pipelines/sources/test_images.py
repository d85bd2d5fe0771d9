from __future__ import annotations

import argparse
import threading
import uuid

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.sources import image_files, images
from pipelines.sources.base import InputError, ReadRequest
from pipelines.sources.images import MAX_FILES_PER_SPLIT, ImagesSource
from pipelines.splits import InputFile
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem
from tests.pipelines.sources.reading import input_files, keeping_all, plan, read


def write(path, height=6, width=5, mode="RGB", seed=0):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def decoded(path, mode="RGB"):
    pixels = np.asarray(Image.open(path).convert(mode))
    return pixels[..., np.newaxis] if mode == "L" else pixels


def fed(made, channels=3):
    return ImagesSource().prepared(ReadRequest(made.schema, fed={"image": None}, channels=channels))


def arrays(batch):
    """The images of a block, as arrays."""
    column = batch.column("image")
    if isinstance(column.type, pa.FixedShapeTensorType):
        return list(column.to_numpy_ndarray())
    return [
        np.array(value["data"], np.uint8).reshape(value["shape"]) for value in column.to_pylist()
    ]


def read_arrays(made, channels=3):
    source = fed(made, channels)
    reading = [read(source, split, image_blocks=True) for split in made.splits]
    found = [
        array
        for split in made.splits
        for block in source.read(split)
        for array in arrays(block.batch)
    ]
    return reading, found


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_reads_what_pillow_reads(tmp_path, channels, mode):
    paths = [
        write(tmp_path / f"{index:03}.png", mode=["L", "RGB", "RGBA"][index % 3], seed=index)
        for index in range(300)
    ]
    made = plan(ImagesSource(), *paths)
    assert (made.rows, made.schema.names, len(made.splits)) == (300, ["image"], 1)
    [reading], found = read_arrays(made, channels)
    assert reading.failures == []
    assert reading.column("_source") == list(map(str, paths))
    assert set(reading.column("_row")) == {0}
    for path, array in zip(paths, found, strict=True):
        np.testing.assert_array_equal(array, decoded(path, mode))


def test_images_of_several_sizes_and_formats_keep_their_own(tmp_path):
    paths = [
        write(tmp_path / f"{index}.{suffix}", height=index + 1)
        for index, suffix in enumerate(["png", "jpg", "bmp", "gif", "webp", "tiff"])
    ]
    made = plan(ImagesSource(), *paths)
    _, found = read_arrays(made)
    for path, array in zip(paths, found, strict=True):
        np.testing.assert_array_equal(array, decoded(path))
    types = {block.batch.schema.field("image").type for block in fed(made).read(made.splits[0])}
    assert types == {made.schema.field("image").type}


def test_bad_files_fail_alone(tmp_path):
    paths = [write(tmp_path / f"{index}.png", seed=index) for index in range(6)]
    paths[1].write_bytes(b"no image")
    paths[2].write_bytes(paths[2].read_bytes()[:70])
    paths[4].write_bytes(b"")
    made = plan(ImagesSource(), *paths)
    paths[3].unlink()
    [reading], found = read_arrays(made)
    assert reading.column("_source") == [str(paths[0]), str(paths[5])]
    assert [np.array_equal(found[0], decoded(paths[0])), len(found)] == [True, 2]
    assert [(failure.source, failure.row, failure.stage) for failure in reading.failures] == [
        (str(paths[1]), 0, "decode"),
        (str(paths[2]), 0, "decode"),
        (str(paths[3]), 0, "read"),
        (str(paths[4]), 0, "decode"),
    ]
    assert [failure.data for failure in reading.failures] == [
        b"no image", paths[2].read_bytes(), None, b"",
    ]  # fmt: skip
    assert reading.failures[2].error == "FileNotFoundError"
    assert reading.total == 6


def test_a_split_of_bad_files_only(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    made = plan(ImagesSource(), path)
    [reading], found = read_arrays(made)
    assert (reading.failed_rows, found) == ([0], [])


def test_splits_are_slices_by_bytes_and_number():
    files = [InputFile(f"{index}.png", 100) for index in range(10)]
    made = ImagesSource().plan(files, 350)
    assert [len(split.files) for split in made.splits] == [3, 3, 3, 1]
    assert [split.size_bytes for split in made.splits] == [300, 300, 300, 100]
    assert [path for split in made.splits for path in split.files] == [f.path for f in files]
    assert [len(split.files) for split in ImagesSource().plan(files, 1).splits] == [1] * 10
    many = [InputFile(f"{index}.png", 1) for index in range(MAX_FILES_PER_SPLIT + 1)]
    made = ImagesSource().plan(many, 2**30)
    assert [len(split.files) for split in made.splits] == [MAX_FILES_PER_SPLIT, 1]


def test_blocks_and_reading_ahead_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_BLOCK_BYTES", 3 * 1000)
    monkeypatch.setattr(images, "_AHEAD_BYTES", 1000)
    monkeypatch.setattr(images, "usable_cores", lambda: 2)
    paths = [write(tmp_path / f"{index:03}.png", 20, 17) for index in range(60)]
    reads = []
    read_one = images.read_image
    monkeypatch.setattr(
        images, "read_image", lambda path, *rest: reads.append(path) or read_one(path, *rest)
    )
    made = plan(ImagesSource(), *paths)
    given = 0
    for block in fed(made).read(made.splits[0]):
        given += block.batch.num_rows
        assert block.batch.num_rows <= 3
        # Before the first image tells its size, two for each of eight threads are begun.
        assert len(reads) <= max(16, given + 2)
    assert (given, len(reads)) == (60, 60)


def test_files_are_read_in_several_threads(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{index}.png") for index in range(4)]
    together = threading.Barrier(4, timeout=300)
    decode = image_files.decode_image

    def decode_together(*arguments):
        together.wait()
        return decode(*arguments)

    monkeypatch.setattr(image_files, "decode_image", decode_together)
    made = plan(ImagesSource(), *paths)
    assert sum(block.batch.num_rows for block in fed(made).read(made.splits[0])) == 4


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "read_images" in thread.name}


def test_a_reader_that_is_given_up_ends_its_threads(tmp_path):
    paths = [write(tmp_path / f"{index:03}.png") for index in range(300)]
    made = plan(ImagesSource(), *paths)
    before = readers()
    blocks = fed(made).read(made.splits[0])
    next(blocks)
    assert readers() > before
    blocks.close()
    assert readers() == before


def test_reads_from_other_filesystems(tmp_path):
    local = write(tmp_path / "a.png")
    path = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/a.png"
    FILES[path] = local.read_bytes()
    made = ImagesSource().plan([InputFile(path, 1), InputFile(path + "x", 1)], 2**20)
    [reading], [found] = read_arrays(made)
    np.testing.assert_array_equal(found, decoded(local))
    missing = (path + "x", 0, "read", "FileNotFoundError")
    assert [failure[:4] for failure in reading.failures] == [missing]


@pytest.mark.parametrize(
    ("decoding", "image_size", "expected"),
    [
        ("scaled", (8, 8), [(10, 13, 3), (20, 9, 3), (40, 51, 3)]),
        ("scaled", (11, 4), [(20, 26, 3), (20, 9, 3), (40, 51, 3)]),
        ("scaled", (41, 4), [(40, 51, 3), (40, 17, 3), (40, 51, 3)]),
        ("full", (8, 8), [(40, 51, 3), (40, 17, 3), (40, 51, 3)]),
    ],
)
def test_jpegs_are_decoded_smaller_only_on_request(tmp_path, decoding, image_size, expected):
    paths = [
        write(tmp_path / "0.jpg", 40, 51),
        write(tmp_path / "1.jpg", 40, 17),
        write(tmp_path / "2.png", 40, 51),
    ]
    made = plan(ImagesSource(), *paths)
    request = ReadRequest(made.schema, fed={"image": None}, image_size=image_size)
    source = ImagesSource(decoding).prepared(request)
    found = [array for block in source.read(made.splits[0]) for array in arrays(block.batch)]
    assert [array.shape for array in found] == expected


def test_scaling_needs_a_size():
    schema = ImagesSource().plan([], 1).schema
    with pytest.raises(InputError, match=r"to a known size.*Pass --image_size"):
        ImagesSource("scaled").prepared(ReadRequest(schema, fed={"image": None}))


def test_missing_decoders_are_told_before_the_run(monkeypatch):
    monkeypatch.setattr(images, "_MODULES", {"no_such_decoder": "some-package"})
    with pytest.raises(InputError, match=r"some-package.*mirrorbeam\[images\]"):
        ImagesSource().plan([], 1)


def test_no_files_are_no_splits():
    made = ImagesSource().plan(input_files([]), 2**20)
    assert (made.splits, made.rows) == ((), 0)


def test_large_images_and_files_fail_undecoded(tmp_path):
    flags = argparse.ArgumentParser()
    ImagesSource.add_arguments(flags)
    sizes = {"a.png": (4, 5), "b.png": (4, 6), "c.png": (3, 3)}
    for name, size in sizes.items():
        Image.new("RGB", size).save(tmp_path / name)
    (tmp_path / "d.png").write_bytes(bytes(301))
    paths = sorted(tmp_path.iterdir())
    limits = ["--max_image_pixels", "20", "--max_record_bytes", "300"]
    source = ImagesSource.from_args(flags.parse_args(limits))
    assert source == ImagesSource(max_pixels=20, max_record_bytes=300)
    made = plan(source, *paths)
    reading = read(keeping_all(source, made), made.splits[0], image_blocks=True)
    assert reading.column("_source") == [str(paths[0]), str(paths[2])]
    assert [failure[2:4] for failure in reading.failures] == [
        ("decode", "ImageError"), ("read", "RecordSizeError"),
    ]  # fmt: skip
    assert "--max_image_pixels" in reading.failures[0].message
    for wrong in ("0", "-1", "1e9", str(2**30 + 1)):
        with pytest.raises(SystemExit):
            flags.parse_args(["--max_image_pixels", wrong])
