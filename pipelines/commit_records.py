"""Commit records: what they promise, and whether the files keep it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipelines import storage
from pipelines.output_folder import OutputFolder
from pipelines.sinks.base import Sink
from pipelines.sinks.parquet import ParquetSink


class CommitError(RuntimeError):
    """A split cannot be committed, or its record and its files do not agree."""


class ForeignCommitError(CommitError):
    """A record is of another job's split."""


def read_commit(
    folder: OutputFolder,
    split: str,
    sink: Sink,
    content: bool = True,
    size_of: Callable[[str], int | None] = storage.size_bytes,
    plan_id: str | None = None,
) -> dict[str, Any] | None:
    """A split's commit record, compared with the files it speaks of.

    Args:
      folder: the job's output.
      split: the split's name.
      sink: the format of the part.
      content: whether to read the files and compare checksums and rows; else sizes alone,
        which costs no transfer.
      size_of: a file's size by path, None where there is none; from a listing of many files
        it costs no request.
      plan_id: of the plan that the record must be for; None asks for none.

    Returns:
      The record; None where the split is not committed.

    Raises:
      CommitError: record and files differ; the split must be done again.
    """
    path = folder.commit(split)
    if size_of(path) is None:
        return None
    try:
        data = storage.read_existing(path)
    except FileNotFoundError:
        # Another attempt or run found since then that it does not hold.
        return None
    try:
        record: dict[str, Any] = json.loads(data)
        if record["split"] != split:
            raise CommitError(f"expected the record of split {split} in {path}. "
                              f"Received: that of {record['split']}.")
        if plan_id is not None and record.get("plan") not in (None, plan_id):
            raise ForeignCommitError(
                f"expected a record of this job in {path}. Received: that of a split of another.")
        if record["rows_in"] != record["predicted"] + record["failed"]:
            raise CommitError(f"expected {record['rows_in']} rows in {path}. Received: "
                              f"{record['predicted']} predicted and {record['failed']} failed.")
        _compare(record["part"], folder.part(split, sink.suffix), record["predicted"],
                 sink, content, size_of)
        if record["failed"]:
            _compare(record["failed_part"], folder.failed_part(split), record["failed"],
                     ParquetSink(), content, size_of)
    except FileNotFoundError as error:
        raise CommitError(
            f"expected the files of split {split}, as committed. Received: {error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CommitError(f"expected a commit record in {path}. Received: {error!r}.") from error
    return record


def _compare(
    promise: dict[str, Any],
    path: str,
    rows: int,
    sink: Sink,
    content: bool,
    size_of: Callable[[str], int | None],
) -> None:
    size = size_of(path)
    if size is None:
        raise CommitError(f"expected {path}, which is committed. Received: no such file.")
    found: dict[str, Any] = {"bytes": size, "rows": promise["rows"]}
    # A file of another size is not read at all: its format may be cut short.
    if content and size == promise["bytes"]:
        found["crc32c"] = storage.crc32c_of(path)
        if found["crc32c"] == promise["crc32c"]:
            found["rows"] = sink.count_rows(path)
    expected = {name: promise[name] for name in found} | {"rows": rows}
    if found != expected:
        raise CommitError(f"expected {expected} in {path}, as committed. Received: {found}.")
