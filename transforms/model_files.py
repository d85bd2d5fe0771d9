"""Models that lie on a remote filesystem, copied to this machine once."""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transforms.engine.model import ModelError

if TYPE_CHECKING:
    from apache_beam.io.filesystem import FileMetadata

_LOG = logging.getLogger(__name__)

CACHE_VARIABLE = "MIRRORBEAM_CACHE"

_REMOTE = re.compile(r"[a-zA-Z][-a-zA-Z0-9+.]*://")
_COPY_BYTES = 8 << 20
_fetch_lock = threading.Lock()


class _RemoteFile(NamedTuple):
    path: str
    name: str
    mark: str


def fetch_model(path: str) -> str:
    """A path on this machine's disk with the model's content.

    A local path is given back as it is. A remote file or folder is copied into a cache whose
    key is the names, sizes and times (else checksums) of its files: it is copied again
    only when it changed, whichever process asks. The cache is `$MIRRORBEAM_CACHE/models`, or
    lies under `~/.cache/mirrorbeam`.

    Args:
      path: on any Beam filesystem.

    Raises:
      ModelError: nothing is there, or it cannot be read.
    """
    if not _REMOTE.match(path):
        return path
    with _fetch_lock:
        try:
            files = _list(path)
            if not files:
                raise ModelError(
                    f"expected a model. Received: {path}, where there is no file. "
                    "Check the path and the permissions."
                )
            return _cached(path, files)
        except (OSError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(
                f"expected a readable model. Received: {path} ({error}). "
                "Check the path, the permissions and that the filesystem's extra is installed."
            ) from error


def _list(path: str) -> list[_RemoteFile]:
    from apache_beam.io.filesystems import FileSystems

    root = path.rstrip("/")
    [alone] = FileSystems.match([root])
    if alone.metadata_list:
        return [_remote_file(alone.metadata_list[0], posixpath.basename(root))]
    [inside] = FileSystems.match([f"{root}/**"])
    return sorted(
        _remote_file(metadata, metadata.path[len(root) + 1 :])
        for metadata in inside.metadata_list
        if not metadata.path.endswith("/")
    )


def _remote_file(metadata: FileMetadata, name: str) -> _RemoteFile:
    from apache_beam.io.filesystems import FileSystems

    mark = metadata.last_updated_in_seconds or FileSystems.checksum(metadata.path)
    return _RemoteFile(metadata.path, name, f"{metadata.size_in_bytes} {mark}")


def _cached(path: str, files: list[_RemoteFile]) -> str:
    named = "\n".join(f"{file.name} {file.mark}" for file in files)
    key = hashlib.sha256(f"{path.rstrip('/')}\n{named}".encode()).hexdigest()[:32]
    cache = _cache_folder()
    place = cache / key
    name = posixpath.basename(path.rstrip("/")) or "model"
    if not place.exists():
        _LOG.info("copying the model %s to %s", path, place)
        part = Path(tempfile.mkdtemp(prefix=f"{key}.", suffix=".part", dir=cache))
        try:
            for file in files:
                alone = len(files) == 1 and file.path == path.rstrip("/")
                _copy(file.path, part / name if alone else part / name / file.name)
            _publish(part, place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return str(place / name)


def _copy(source: str, target: Path) -> None:
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    target.parent.mkdir(parents=True, exist_ok=True)
    opened = FileSystems.open(source, compression_type=CompressionTypes.UNCOMPRESSED)
    with opened as remote, target.open("wb") as local:
        shutil.copyfileobj(remote, local, _COPY_BYTES)


def _publish(part: Path, place: Path) -> None:
    try:
        part.rename(place)
    except OSError:
        # Another process of this host was first; its copy has the same content.
        if not place.exists():
            raise


def _cache_folder() -> Path:
    given = os.environ.get(CACHE_VARIABLE)
    folder = Path(given) if given else Path.home() / ".cache" / "mirrorbeam"
    try:
        (folder / "models").mkdir(parents=True, exist_ok=True)
    except OSError:
        if given:
            raise
        folder = Path(tempfile.gettempdir()) / f"mirrorbeam-{os.getuid()}"
        (folder / "models").mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "models"
