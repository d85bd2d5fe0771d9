"""How a split's output appears: failed part, part, then the record that makes both count.

Per split, in this order: `_mirrorbeam/failed/part-<split>.parquet` (only with failures),
`part-<split>.<format>`, `_mirrorbeam/commits/<split>.json`. Each appears at once. The record
exists if and only if the split is committed.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines import storage
from pipelines.commit_records import CommitError, ForeignCommitError, read_commit
from pipelines.failed_rows import failed_schema, failures_to_batch
from pipelines.file_lock import file_lock
from pipelines.object_stores import is_object_store
from pipelines.output_folder import OutputFolder
from pipelines.pending_file import PendingFile
from pipelines.plan_watch import require_plan_unchanged
from pipelines.retrying import OutageError
from pipelines.sinks.base import PartWriter, Sink, arranged
from pipelines.sinks.parquet import ParquetSink
from pipelines.sources.origins import Origin, no_origin
from pipelines.splits import Split
from transforms.block import Block

_LOG = logging.getLogger(__name__)


class SplitWriter:
    """Takes one split's blocks in order and commits them as a whole, or leaves no trace."""

    def __init__(
        self,
        folder: OutputFolder,
        sink: Sink,
        split: Split,
        input_schema: pa.Schema,
        provenance: bool = True,
        plan_id: str | None = None,
        origin: Callable[[Split], Origin | None] = no_origin,
    ) -> None:
        """Starts an attempt; files are opened when there is something to write.

        Args:
          folder: where to write.
          sink: the format of the part.
          split: which one.
          input_schema: the source's columns, for the failed part.
          provenance: whether the part has `_source` and `_row`.
          plan_id: of the plan that the split is of; None for a folder that no other job takes.
          origin: tells where the rows of a split are from, for its failed part.
        """
        self._plan_id = plan_id
        self._folder = folder
        self._sink = sink
        self._split = split
        self._provenance = provenance
        self._attempt = uuid.uuid4().hex
        self._started_at = time.time()
        self._schema: pa.Schema | None = None
        self._failed_schema = failed_schema(input_schema)
        self._origin = origin
        self._part: _OpenPart | None = None
        self._failed_part: _OpenPart | None = None
        self._record: PendingFile | None = None
        self._failures: Counter[tuple[str, str]] = Counter()
        self._predicted = 0

    def add(self, block: Block) -> None:
        """Writes a block's predictions and failures to files that nobody sees yet.

        Raises:
          CommitError: its columns are not those of the blocks before it.
          SinkError: the format cannot hold them.
        """
        if block.failures:
            self._failures.update((failure.stage, failure.error) for failure in block.failures)
            rows = failures_to_batch(block.failures, self._failed_schema)
            self._open_failed_part().writer.write(rows)
        batch = arranged(block.batch, self._provenance)
        if self._part is None:
            self._schema = batch.schema
        if batch.num_rows:
            self._predicted += batch.num_rows
            self._open_part(batch.schema).writer.write(self._conformed(batch))

    def commit(
        self,
        rows_in_split: int,
        run_info: dict[str, Any] | None = None,
        stage_times: Callable[[], dict[str, Any]] = dict,
    ) -> dict[str, Any]:
        """Makes the split's output appear.

        Where a complete commit is there already (a repeated bundle, a slow twin), that one
        stays, since readers may be at it.

        Args:
          rows_in_split: what the source counted.
          run_info: facts about the worker, kept with the record.
          stage_times: tells where its time went, for the same place; called when the parts are
            written, so that all but writing the record itself is in it.

        Returns:
          The commit record.

        Raises:
          CommitError: predicted and failed rows do not add up to `rows_in_split`.
          OutageError: another command deleted the attempt's files, and committed nothing.
        """
        failed = sum(self._failures.values())
        if self._predicted + failed != rows_in_split:
            raise CommitError(
                f"expected {rows_in_split} rows in split {self._split.name}. Received: "
                f"{self._predicted} predicted and {failed} failed. Nothing of it is committed.")
        if self._schema is None:
            raise CommitError(
                f"expected at least one block of split {self._split.name}. Received: none. "
                "A source gives an empty block for a split without rows.")
        part = self._open_part(self._schema)
        for written in (part, self._failed_part):
            if written is not None:
                written.writer.finish()
                # Before looking for a commit: one of two attempts sees the other's, see `_settle`.
                written.file.close()

        def describe() -> dict[str, Any]:
            return self._describe(rows_in_split, failed, run_info, stage_times)

        record = {}
        if not is_object_store(self._folder.path):
            # All is on its way before looking: what a sweep deletes now cannot appear any more.
            record = describe()
            self._record = self._pending_record(record)
        # A runner that lost a worker repeats its bundle while the first may still be running.
        with file_lock(self._folder.plan):
            self._require_own_folder()
            earlier = self._earlier_commit()
            if earlier is None:
                try:
                    self._publish()
                    if self._record is None:
                        record = describe()
                        storage.write_object(
                            self._folder.commit(self._split.name), _as_json(record))
                except FileNotFoundError as error:
                    # A command that finished the job meanwhile cleaned up behind it.
                    self._require_own_folder()
                    earlier = self._earlier_commit()
                    if earlier is None:
                        # It found the commit there was not to hold, or nobody has done it yet.
                        raise OutageError(
                            f"expected the files on their way of split {self._split.name}. "
                            f"Received: {error}; another command that finished the job deleted "
                            "them. Nothing of the split is committed: it is to be done again."
                        ) from error
                else:
                    self._settle()
                    return record
        self.abandon()
        return earlier

    def abandon(self) -> None:
        """Deletes what is not published yet; may be called again."""
        for part in (self._part, self._failed_part):
            if part is not None:
                part.file.abandon()
        if self._record is not None:
            self._record.abandon()
        self._part = self._failed_part = self._record = None

    def _publish(self) -> None:
        if self._failed_part is not None:
            self._failed_part.file.publish()
        assert self._part is not None
        self._part.file.publish()
        if self._record is None:
            return
        self._record.publish()
        if self._failed_part is None:
            # Not before: where this attempt was overtaken, it is one that counts. In object
            # stores the finish does it, with one request less for each split.
            storage.delete([self._folder.failed_part(self._split.name)])

    def _describe(
        self,
        rows_in_split: int,
        failed: int,
        run_info: dict[str, Any] | None,
        stage_times: Callable[[], dict[str, Any]],
    ) -> dict[str, Any]:
        """The commit record of parts that are complete."""
        assert self._part is not None
        failed_promise = self._failed_part and self._promise(self._failed_part, failed)
        ended_at = time.time()
        return {
            "split": self._split.name,
            "attempt": self._attempt,
            "plan": self._plan_id,
            "rows_in": rows_in_split,
            "predicted": self._predicted,
            "failed": failed,
            "failures": _by_stage(self._failures),
            "part": self._promise(self._part, self._predicted),
            "failed_part": failed_promise,
            "started_at": self._started_at,
            "ended_at": ended_at,
            "seconds": round(ended_at - self._started_at, 6),
            "run": run_info and run_info | stage_times(),
        }

    def _pending_record(self, record: dict[str, Any]) -> PendingFile:
        file = PendingFile(
            self._folder.temporary(f"{self._split.name}-{self._attempt}", "json"),
            self._folder.commit(self._split.name))
        try:
            file.stream.write(_as_json(record))
            file.close()
        except BaseException:
            file.abandon()
            raise
        return file

    def _settle(self) -> None:
        """Leaves a sign on an object store, which has no locks, if another attempt is at work.

        Each attempt completes its temporary file, looks for a record, copies, writes its record and
        then looks for temporary files of others. So if two of them copy, the one whose record
        is the later sees the other's file, and leaves its own: the finish reads parts of which
        it finds any, and compares them by checksum.
        """
        if not is_object_store(self._folder.path):
            return
        others = [
            name for name in self._folder.temporary_files(self._split.name)
            if self._attempt not in name]
        if others:
            _LOG.warning(
                "split %s: another attempt was at work, the finish will compare", self._split.name)
            return
        for part in (self._part, self._failed_part):
            if part is not None:
                part.file.settle()

    def _earlier_commit(self) -> dict[str, Any] | None:
        try:
            return read_commit(
                self._folder, self._split.name, self._sink, plan_id=self._plan_id)
        except CommitError as error:
            if isinstance(error, ForeignCommitError):
                self._folder.require_plan(self._plan_id)
            _LOG.warning("committing split %s again: %s", self._split.name, error)
            # On a local disk the new record takes its place: by now it may be one that holds.
            if not storage.is_local(self._folder.path):
                storage.delete([self._folder.commit(self._split.name)])
            return None

    def _require_own_folder(self) -> None:
        """Fails where another job began here meanwhile; elsewhere its own finish finds out."""
        if self._plan_id is not None and storage.is_local(self._folder.path):
            require_plan_unchanged(self._folder, self._plan_id)

    def _open_part(self, schema: pa.Schema) -> _OpenPart:
        if self._part is None:
            # The driver could not check it where only building the model tells the outputs.
            self._sink.check_schema(schema)
            file = PendingFile(
                self._folder.temporary(f"{self._split.name}-{self._attempt}", self._sink.suffix),
                self._folder.part(self._split.name, self._sink.suffix))
            self._part = _OpenPart(file, self._sink.open(file.stream, schema))
        return self._part

    def _open_failed_part(self) -> _OpenPart:
        if self._failed_part is None:
            file = PendingFile(
                self._folder.temporary(f"{self._split.name}-failed-{self._attempt}", "parquet"),
                self._folder.failed_part(self._split.name))
            origin = self._origin(self._split)
            schema = self._failed_schema.with_metadata(origin and origin.to_metadata())
            writer = ParquetSink().open(file.stream, schema)
            self._failed_part = _OpenPart(file, writer)
        return self._failed_part

    def _conformed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema.equals(self._schema):
            return batch
        try:
            return batch.cast(self._schema)
        except (pa.ArrowException, ValueError) as error:
            raise CommitError(
                f"expected blocks of split {self._split.name} with one schema, "
                f"{_text(self._schema)}. Received: {_text(batch.schema)}.") from error

    def _promise(self, part: _OpenPart, rows: int) -> dict[str, Any]:
        return {"rows": rows, "attempt": self._attempt} | part.file.measures()


class _OpenPart(NamedTuple):
    file: PendingFile
    writer: PartWriter


def _as_json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=1, ensure_ascii=False).encode()


def _by_stage(failures: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    stages: dict[str, dict[str, int]] = {}
    for (stage, error), rows in sorted(failures.items()):
        stages.setdefault(stage, {})[error] = rows
    return stages


def _text(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
