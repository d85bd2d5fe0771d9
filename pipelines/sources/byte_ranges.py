"""Byte ranges of large files, as splits of their own: cutting files, and reading a range."""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from pipelines.sources.streams import CHUNK_BYTES
from pipelines.splits import InputFile, Split

# What lies behind a range is read only to complete a record, which is small more often than not.
_FIRST_TAIL_BYTES = 2**16
_THREADS = 16


def cut_files(
    files: Sequence[InputFile], split_bytes: int, can_cut: Callable[[InputFile], bool]
) -> tuple[Split, ...]:
    """Cuts the files above `split_bytes` into ranges of about equal size.

    Where the cuts lie says nothing about records: a reader finds the first one that starts in
    its range. If any file is cut, the splits of all say that `_row` is a byte offset.

    Args:
      files: all files of the input, in the order of their rows.
      split_bytes: no range is larger.
      can_cut: whether a file's ranges can be read one without the other: it is not compressed.
        Asked in threads, only about files above `split_bytes`.

    Returns:
      Splits with `start` and `stop` as byte offsets; `stop` is None where a file ends.
    """
    large = [file for file in files if file.size_bytes > split_bytes]
    cut: set[str] = set()
    if large:
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
            answers = threads.map(can_cut, large)
            cut = {file.path for file, answer in zip(large, answers, strict=True) if answer}
    splits: list[Split] = []
    for file in files:
        count = -(-file.size_bytes // split_bytes) if file.path in cut else 1
        bounds = [file.size_bytes * index // count for index in range(count + 1)]
        for start, stop in itertools.pairwise(bounds):
            end = None if stop == file.size_bytes else stop
            size = stop - start
            splits.append(
                Split(len(splits), (file.path,), start, end, size_bytes=size, byte_rows=bool(cut))
            )
    return tuple(splits)


def range_chunks(
    handle: BinaryIO, start: int, stop: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes of an open file from `start` on, for as long as they are asked for.

    A chunk ends at `stop`, and does not start before it otherwise; behind it come more chunks,
    small ones first, to complete the last record of the range. Ends where the file ends.

    Args:
      handle: can seek.
      start: offset of the first byte.
      stop: end of the range, exclusive; None for the end of the file.
      chunk_bytes: no chunk is larger.
    """
    handle.seek(start)
    at, tail_bytes = start, min(_FIRST_TAIL_BYTES, chunk_bytes)
    while True:
        wanted = chunk_bytes
        if stop is not None and at < stop:
            wanted = min(chunk_bytes, stop - at)
        elif stop is not None:
            wanted, tail_bytes = tail_bytes, min(2 * tail_bytes, chunk_bytes)
        chunk = handle.read(wanted)
        if not chunk:
            return
        at += len(chunk)
        yield chunk
