"""A Beam filesystem with a scheme of its own, over a local folder, as an object store is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

from apache_beam.io.filesystem import (
    CompressedFile,
    CompressionTypes,
    FileMetadata,
    FileSystem,
)

PREFIX = "shelf://"


def local(path: str) -> Path:
    """The file that `shelf://a/b` is kept in."""
    return ShelfFileSystem.root / path.removeprefix(PREFIX)


class ShelfFileSystem(FileSystem):
    """Keeps `shelf://a/b` in the file `<root>/a/b`; it has no folders, only names.

    Attributes:
      root: the local folder.
      events: what happened to which path, in order: `opened`, `created`, `appears`.
    """

    root: ClassVar[Path] = Path()
    events: ClassVar[list[tuple[str, str]]] = []

    @classmethod
    def scheme(cls) -> str:
        return "shelf"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.removeprefix(PREFIX).rpartition("/")
        return PREFIX + head, tail

    def mkdirs(self, path: str) -> None:
        del path

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for file in sorted(self.root.rglob("*")):
            path = PREFIX + file.relative_to(self.root).as_posix()
            if file.is_file() and path.startswith(dir_or_prefix):
                yield self.metadata(path)

    def create(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> BinaryIO:
        self.events.append(("created", path))
        local(path).parent.mkdir(parents=True, exist_ok=True)
        return _compressed(local(path).open("wb"), path, compression_type)

    def open(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> BinaryIO:
        self.events.append(("opened", path))
        return _compressed(local(path).open("rb"), path, compression_type)

    def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            local(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local(source), local(target))

    def rename(
        self, source_file_names: Sequence[str], destination_file_names: Sequence[str]
    ) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            local(target).parent.mkdir(parents=True, exist_ok=True)
            os.replace(local(source), local(target))
            self.events.append(("appears", target))

    def exists(self, path: str) -> bool:
        return local(path).is_file()

    def size(self, path: str) -> int:
        return local(path).stat().st_size

    def last_updated(self, path: str) -> float:
        return local(path).stat().st_mtime

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def checksum(self, path: str) -> str:
        return f"{self.size(path)} {self.last_updated(path)}"

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            local(path).unlink()


def _compressed(file: BinaryIO, path: str, compression_type: str) -> BinaryIO:
    if compression_type == CompressionTypes.AUTO:
        compression_type = CompressionTypes.detect_compression_type(path)
    if compression_type == CompressionTypes.UNCOMPRESSED:
        return file
    return CompressedFile(file, compression_type)
