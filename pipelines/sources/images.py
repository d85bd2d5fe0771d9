"""Image files: a file is a row, a split a slice of the list of files."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import importlib.util
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar, Literal, cast

import numpy as np
import pyarrow as pa

from pipelines.sources.base import InputError, ReadRequest, Source, SourcePlan
from pipelines.sources.blocks import BlockMaker
from pipelines.sources.image_files import ImageFile, ImageLimits, read_image
from pipelines.sources.record_limits import (
    DEFAULT_MAX_RECORD_BYTES,
    add_record_limit,
)
from pipelines.splits import InputFile, Split
from transforms.block import Block
from transforms.cores import usable_cores
from transforms.engine.stage_times import DECODE, STAGE_TIMES, WAIT
from transforms.failures import Failure
from transforms.images import (
    DEFAULT_MAX_PIXELS,
    MOST_PIXELS,
    images_to_column,
)

IMAGE_COLUMN = "image"
IMAGE_SCHEMA = pa.schema([(IMAGE_COLUMN, images_to_column([None]).type)])
MAX_FILES_PER_SPLIT = 2000

# A block ends at whichever comes first. Decoded bytes: large photos come one by one.
_BLOCK_IMAGES = 256
_BLOCK_BYTES = 32 * 2**20
# Opening remote files is waiting, not work: more threads than cores.
_MIN_THREADS = 8
_AHEAD_BYTES = 64 * 2**20

_MODULES = {"cv2": "opencv-python-headless", "PIL": "pillow"}


ImageDecoding = Literal["full", "scaled"]
IMAGE_DECODINGS: tuple[ImageDecoding, ...] = ("full", "scaled")


@dataclasses.dataclass(frozen=True)
class ImagesSource(Source):
    """Reads and decodes image files in threads, to `uint8[height, width, channels]`.

    A file that is no image is a failure of its own, as is one that cannot be opened.

    Attributes:
      decoding: `full` gives the stored pixels; `scaled` gives JPEGs 2, 4 or 8 times smaller
        where they are still at least of the size that the device resizes to.
      max_pixels: an image of more, stored width times height, is a failure of its own.
      max_record_bytes: so is a longer file.
    """

    name: ClassVar[str] = "images"
    suffixes: ClassVar[tuple[str, ...]] = (
        ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff",
    )  # fmt: skip
    content_tells: ClassVar[bool] = True

    decoding: ImageDecoding = "full"
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES

    @property
    def row_unit(self) -> str:
        """Files are counted, each in itself."""
        return "file"

    @property
    def gives_images(self) -> bool:
        """Always."""
        return True

    @classmethod
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Declares how the files are decoded."""
        parser.add_argument(
            "--image_decode",
            choices=IMAGE_DECODINGS,
            default="full",
            help="scaled: decode JPEGs 2, 4 or 8 times smaller where they stay as large as the "
            "model's images; faster, and pixels differ a little (default: %(default)s)",
        )
        parser.add_argument(
            "--max_image_pixels",
            metavar="N",
            type=_pixels,
            default=DEFAULT_MAX_PIXELS,
            help="an image of more pixels, width times height, is a failed row and is not decoded "
            "(default: %(default)s)",
        )
        add_record_limit(parser)

    @classmethod
    def from_args(cls, flags: argparse.Namespace) -> ImagesSource:
        """The source that the flags ask for."""
        return cls(
            cast(ImageDecoding, flags.image_decode),
            flags.max_image_pixels,
            flags.max_record_bytes or DEFAULT_MAX_RECORD_BYTES,
        )

    def plan(self, files: Sequence[InputFile], split_bytes: int) -> SourcePlan:
        """Slices of about `split_bytes` and at most `MAX_FILES_PER_SPLIT` files."""
        require_decoders()
        splits: list[Split] = []
        for paths, size in _slices(files, split_bytes):
            splits.append(Split(len(splits), paths, stop=len(paths), size_bytes=size))
        return SourcePlan(tuple(splits), IMAGE_SCHEMA, rows=len(files))

    def marked(self, splits: Sequence[Split], files: Sequence[InputFile]) -> tuple[Split, ...]:
        """The splits as they are: each image is read at once, and may be replaced before."""
        del files
        return tuple(splits)

    def prepared(self, request: ReadRequest) -> ImagesSource:
        """The source as the workers need it.

        Raises:
          InputError: images are to be decoded smaller, but to no known size.
        """
        if self.decoding == "scaled" and request.image_size is None:
            raise InputError(
                "expected images that are only resized, to a known size, for --image_decode "
                "scaled. Received: --preprocess, a model of images of any size, or --keep image. "
                "Pass --image_size, or leave --image_decode out."
            )
        return super().prepared(request)

    def read(self, split: Split) -> Iterator[Block]:
        """Reads the files in order; only so many ahead as there is memory set aside for."""
        return self.blocks(split, map(ImageFile, split.files))

    def blocks(self, split: Split, files: Iterable[ImageFile]) -> Iterator[Block]:
        """The decoded images of a split, in order.

        Where all images of a block have one shape the column is a fixed-shape tensor, else
        it has the planned type.

        Args:
          split: what the blocks are of.
          files: its rows; not many more are asked for than are being decoded.
        """
        maker = BlockMaker(split, self.columns_schema())
        images: list[np.ndarray] = []
        paths: list[str] = []
        failures: list[Failure] = []
        held_bytes = 0
        for path, result in self._decoded(files):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                images.append(result)
                paths.append(path)
                held_bytes += result.nbytes
            if len(images) + len(failures) >= _BLOCK_IMAGES or held_bytes >= _BLOCK_BYTES:
                yield _block(maker, images, paths, failures)
                images, paths, failures, held_bytes = [], [], [], 0
        if images or failures:
            yield _block(maker, images, paths, failures)
        yield maker.last()

    def _decoded(self, files: Iterable[ImageFile]) -> Iterator[tuple[str, np.ndarray | Failure]]:
        cores = usable_cores()
        threads = max(_MIN_THREADS, cores)
        channels = self.wanted.channels
        least_size = self.wanted.image_size if self.decoding == "scaled" else None
        limits = ImageLimits(self.max_pixels, self.max_record_bytes)
        waiting = iter(files)
        largest = 1
        pending: collections.deque[tuple[str, Future[np.ndarray | Failure]]] = collections.deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="read_images") as pool:
            try:
                while True:
                    ahead = max(cores, min(2 * threads, _AHEAD_BYTES // largest))
                    for file in itertools.islice(waiting, max(0, ahead - len(pending))):
                        task = pool.submit(read_image, file, channels, least_size, limits)
                        pending.append((file.path, task))
                    if not pending:
                        return
                    with STAGE_TIMES.stage(WAIT):
                        path, task = pending.popleft()
                        result = task.result()
                    if isinstance(result, np.ndarray):
                        largest = max(largest, result.nbytes)
                    yield path, result
            finally:
                for _, task in pending:
                    task.cancel()


def require_decoders() -> None:
    """Checks that images can be decoded here.

    Raises:
      InputError: a package is missing.
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"expected {' and '.join(_MODULES[name] for name in missing)} to decode images. "
            "Received: a Python without. Run pip install 'mirrorbeam[images]'."
        )


@STAGE_TIMES.timed(DECODE)
def _block(
    maker: BlockMaker,
    images: Sequence[np.ndarray],
    paths: Sequence[str],
    failures: Sequence[Failure],
) -> Block:
    if not images:
        return maker.failed(failures)
    batch = pa.RecordBatch.from_arrays([images_to_column(images)], [IMAGE_COLUMN])
    return maker.block(batch, np.zeros(len(images), np.int64), failures, paths)


def _slices(files: Sequence[InputFile], split_bytes: int) -> Iterator[tuple[tuple[str, ...], int]]:
    paths: list[str] = []
    size = 0
    for file in files:
        full = len(paths) == MAX_FILES_PER_SPLIT or size + file.size_bytes > split_bytes
        if paths and full:
            yield tuple(paths), size
            paths, size = [], 0
        paths.append(file.path)
        size += file.size_bytes
    if paths:
        yield tuple(paths), size


def _pixels(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MOST_PIXELS:
        raise argparse.ArgumentTypeError(
            f"expected a number of pixels from 1 to {MOST_PIXELS}. Received: {text!r}."
        )
    return int(text)
