"""Single rows of a source, read again for a table that names them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.retrying import OutageError, outages_named
from pipelines.sources.base import Source
from pipelines.sources.origins import Origin
from pipelines.splits import Split, bare_name
from transforms.block import ROW_COLUMN, Block
from transforms.failures import Failure

_LOG = logging.getLogger(__name__)


def name_refusal(source: Source, path: str) -> str | None:
    """Why a file that a table names is not read as the table's format; None where it may be.

    A table is data: it must not make a text of another kind a row. Formats that tell their
    files by content need no names.
    """
    if source.content_tells or bare_name(path).endswith(source.suffixes):
        return None
    return f"a name without {' or '.join(source.suffixes)}"


class SourceRows:
    """Rows of one file of a table's origin.

    Rows that are asked for in their order are found in one pass, which holds a block at a time.
    """

    def __init__(self, source: Source, origin: Origin, path: str) -> None:
        """Takes a prepared source of the origin's format, and the file."""
        self._source = source
        self._origin = origin
        self._path = path
        self._split: Split | None = None
        self._blocks: Iterator[Block] = iter(())
        self._held = _Held(None)
        self._damage: str | None = None
        self._refusal = self._look()

    def find(self, row: int) -> pa.RecordBatch | Failure:
        """A row as a batch of one, with `_source` and `_row`; or why it is none.

        Failures have no copy of the row: no command named the file.
        """
        if self._refusal is not None:
            return self._failure(row, *self._refusal)
        try:
            return self._find(row)
        except OutageError:
            # Its rows may be had later.
            raise
        # Tables say anything of files, and filesystems have errors of their own kinds.
        except Exception as error:
            _LOG.warning("%s cannot be read again", self._path, exc_info=True)
            self._refusal = type(error).__name__, " ".join(str(error).split())
            return self._failure(row, *self._refusal)

    def close(self) -> None:
        """Closes the file; rows can be asked for all the same."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        self._split, self._blocks, self._held = None, iter(()), _Held(None)

    def _look(self) -> tuple[str, str] | None:
        refusal = name_refusal(self._source, self._path)
        if refusal is not None:
            return "NoCopyError", (
                f"expected a file of the table's format, {self._source.name}, by its name. "
                f"Received: {refusal}."
            )
        try:
            with outages_named():
                size = storage.size_bytes(self._path)
        except OutageError:
            raise
        except Exception as error:
            return type(error).__name__, " ".join(str(error).split())
        if size is None:
            return "FileNotFoundError", "the file is gone."
        split, then = self._origin.split, self._origin.size_bytes
        if split is not None and self._path in split.files and then not in (None, size):
            return "SourceChangedError", (
                f"expected the file as it was when the row failed, {then} bytes. Received: {size} "
                "bytes. Score the file itself: its rows may be elsewhere now."
            )
        return None

    def _find(self, row: int) -> pa.RecordBatch | Failure:
        if self._held.first is not None and row < self._held.first:
            self.close()
        while self._held.last is None or self._held.last < row:
            block = next(self._blocks, None)
            if block is None:
                split = self._origin.split_with(self._path, row)
                split = self._source.narrowed(split, row)
                if split == self._split:
                    return self._absent(row)
                self.close()
                self._split, self._blocks, self._damage = split, self._source.read(split), None
                continue
            self._note_damage(block)
            self._held = _Held(block, self._held)
        found = self._held.find(row)
        if found is None:
            return self._absent(row)
        if isinstance(found, Failure):
            return self._failure(row, found.error, found.message, found.stage)
        return found

    def _note_damage(self, block: Block) -> None:
        for failure in block.failures:
            if failure.error == "DamagedFileError":
                self._damage = failure.message

    def _absent(self, row: int) -> Failure:
        why = "" if self._damage is None else f" ({self._damage})"
        return self._failure(row, "SourceChangedError", f"no row is there any more{why}.")

    def _failure(self, row: int, error: str, message: str, stage: str = "read") -> Failure:
        place = f"{'byte' if self._origin.byte_rows else self._origin.row_unit} {row}"
        return Failure(
            self._path, row, stage, error,
            f"read again from {place} of {self._path}: {message}",
        )  # fmt: skip


class _Held:
    """A block whose rows can be found.

    Attributes:
      first: place of its first row, or of that of the block before it.
      last: of its last row; None before there is any.
    """

    def __init__(self, block: Block | None, before: _Held | None = None) -> None:
        self._block = block
        self._rows = np.empty(0, np.int64)
        self._failures: dict[int | None, Failure] = {}
        self.first: int | None = None
        self.last: int | None = None
        if block is None:
            return
        self._rows = block.batch.column(ROW_COLUMN).to_numpy()
        self._failures = {failure.row: failure for failure in block.failures}
        places = [*self._rows[:1].tolist(), *self._rows[-1:].tolist()]
        places += [row for row in self._failures if row is not None]
        if places:
            self.first, self.last = min(places), max(places)
        elif before is not None:
            self.first, self.last = before.first, before.last

    def find(self, row: int) -> pa.RecordBatch | Failure | None:
        if row in self._failures:
            return self._failures[row]
        at = int(np.searchsorted(self._rows, row))
        if self._block is None or at == len(self._rows) or self._rows[at] != row:
            return None
        # A copy: a slice of each block would hold them all.
        return self._block.batch.take(pa.array([at]))
