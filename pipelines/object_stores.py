"""What differs where files are objects in a bucket, which appear when they are closed."""

from __future__ import annotations

import io
import logging
import threading
from typing import Any, BinaryIO

from pipelines.retrying import retried

_LOG = logging.getLogger(__name__)

_THREAD = threading.local()

# Of these it is known, and tested: an object appears when its upload is complete, in the
# place of an older one of the same name, and whoever looks afterwards sees it.
OBJECT_STORES = frozenset({"gs", "s3"})


def is_object_store(path: str) -> bool:
    """Whether `path` is in a bucket of a store whose objects appear whole, when closed."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.lower() in OBJECT_STORES


def create_object(path: str) -> BinaryIO:
    """Opens a new object for writing; an upload is under way from the first byte on.

    Closing completes it, whatever was written by then: there is no way to give one up.
    """
    return io.BufferedWriter(_Upload(path))


class _Upload(io.RawIOBase):
    """Beam's upload, begun late: its S3 client cannot complete one that has no byte."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._file: Any = None
        self._is_broken = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            if self._file is None:
                self._file = retried(self._open, f"creating {self._path}")
            self._file.write(data)
        except BaseException:
            self._give_up()
            raise
        return len(data)

    def close(self) -> None:
        if self.closed:
            return
        # Closed even if that fails: there is no second try.
        super().close()
        if self._is_broken:
            return
        if self._file is not None:
            try:
                self._file.close()
            except BaseException:
                self._give_up()
                raise
        elif is_s3(self._path):
            retried(lambda: put_s3_object(self._path, b""), f"creating {self._path}")
        else:
            retried(self._open, f"creating {self._path}").close()

    def _give_up(self) -> None:
        """Sees to it that nothing completes the upload later, as collecting garbage would."""
        self._is_broken = True
        # S3's uploader remembers its error and never completes.
        if hasattr(self._file, "terminate"):
            try:
                self._file.terminate()
            except Exception as error:
                _LOG.debug("an upload to %s cannot be cancelled: %s", self._path, error)

    def _open(self) -> Any:
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        return FileSystems.get_filesystem(self._path).create(
            self._path, compression_type=CompressionTypes.UNCOMPRESSED)


def copy_object(source: str, target: str) -> None:
    """Copies an object, in the place of one that is there.

    Raises:
      FileNotFoundError: the source is gone.
    """
    from apache_beam.io.filesystems import FileSystems

    filesystem = FileSystems.get_filesystem(source)
    try:
        # That of S3 raises nothing: it gives each copy's error, or none.
        for *_, error in filesystem.copy([source], [target]) or ():
            if error is not None:
                raise error
    except Exception as error:
        if not filesystem.exists(source):
            raise FileNotFoundError(f"there is no file {source}") from error
        raise


def put_object(path: str, data: bytes) -> None:
    """Writes a small object, which appears whole or not at all."""
    if is_s3(path):
        put_s3_object(path, data)
        return
    with create_object(path) as file:
        file.write(data)


def put_s3_object(path: str, data: bytes) -> None:
    """Writes an S3 object in one request, where an upload in pieces takes three."""
    from apache_beam.io.aws.s3io import parse_s3_path

    bucket, key = parse_s3_path(path)
    _s3_store(path).client.client.put_object(Bucket=bucket, Key=key, Body=data)


def s3_object_state(path: str) -> tuple[int, float]:
    """Size in bytes, and time of writing in seconds since 1970, of an S3 object."""
    state = _s3_store(path)._status(path)
    return int(state["size"]), float(state["last_updated"])


def _s3_store(path: str) -> Any:
    """Beam's S3 client for single requests; making one costs more time than a request does."""
    from apache_beam.io.aws.s3io import S3IO
    from apache_beam.io.filesystems import FileSystems

    options = FileSystems.get_filesystem(path)._options
    known = getattr(_THREAD, "s3", None)
    if known is None or known[0] is not options:
        known = _THREAD.s3 = options, S3IO(options=options)
    return known[1]


def is_s3(path: str) -> bool:
    """Whether `path` is in an S3 bucket."""
    return path.lower().startswith("s3://")
