"""The folder that a job writes to: who may write there, and what is deleted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipelines import storage
from pipelines.file_lock import file_lock
from pipelines.output_paths import WORK_FOLDER, OutputPaths
from pipelines.overlap import overlap
from pipelines.pending_file import write_at_once, write_once
from pipelines.plan import JobPlan
from pipelines.sinks import sink_class

_TEMPORARY_FILE = re.compile(r"(?:(\d{5,})-(?:failed-)?)?[0-9a-f]{32}\.[a-z]+")
_TUNING_FILE = re.compile(r"[0-9a-f]{32}\.json")
_RUN_FILE = re.compile(r"[0-9]{13,}-[0-9a-f]{8}\.json")
# Of a folder without a plan: more than that cannot be what a killed command left.
_LISTED_LEFTOVERS = 100
_SWEPT_TRIES = 3


class OutputError(ValueError):
    """The output folder cannot be used; the message says expected, received, what to do."""


class OutputFolder(OutputPaths):
    """A job's output on any Beam filesystem; knows nothing of what is in it but the plan."""

    def sizes(self) -> dict[str, int]:
        """Sizes by path of all parts, failed parts and commit records that are there."""
        return (
            storage.sizes_in(self.path, "part-")
            | storage.sizes_in(self.failed_folder, "part-")
            | storage.sizes_in(self.commits_folder))

    def write(self, path: str, data: bytes) -> None:
        """Writes one of the folder's small files at once."""
        for _ in range(_SWEPT_TRIES):
            # Another command that finishes the job sweeps what is on its way.
            with contextlib.suppress(FileNotFoundError):
                write_at_once(self.temporary(uuid.uuid4().hex, "json"), path, data)
                return
        write_at_once(self.temporary(uuid.uuid4().hex, "json"), path, data)

    def write_json(self, path: str, values: Any) -> None:
        """Writes one of the folder's JSON files at once."""
        self.write(path, json.dumps(values, indent=1, ensure_ascii=False).encode())

    def read_plan(self) -> JobPlan | None:
        """The plan of the job that the folder belongs to; None where it has none.

        Raises:
          OutputError: there is a plan that cannot be read.
        """
        data = storage.read_bytes(self.plan)
        if data is None:
            return None
        try:
            plan = JobPlan.from_json(data)
            sink_class(plan.output_format)
            return plan
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise OutputError(
                f"expected a plan of mirrorbeam in {self.plan}. Received: "
                f"{str(error).rstrip('.')}. Choose another --output.") from error

    def require_plan(self, plan_id: str | None = None) -> JobPlan:
        """The plan of the job that the folder belongs to.

        Args:
          plan_id: which one it must be; None for any.

        Raises:
          OutputError: there is none, one that cannot be read, or another.
        """
        plan = self.read_plan()
        if plan is None:
            raise OutputError(
                f"expected the job's plan in {self.plan}. Received: no such file. Workers must "
                "see the same --output as the command that starts them.")
        if plan_id not in (None, plan.id):
            raise OutputError(
                f"expected the plan that this job began with in {self.plan}. Received: another: "
                "a command with --overwrite, or one given at the same time, has begun another "
                "job in this folder. Give each job an --output of its own.")
        return plan

    def check(self, inputs: Sequence[str], suffix: str) -> JobPlan | None:
        """Refuses a folder that a job must not or cannot write to; leaves no trace.

        Args:
          inputs: the job's inputs as given: files, folders, globs.
          suffix: of the parts to be written.

        Returns:
          The plan of an earlier job that is there, to be resumed or to be deleted by `begin`.

        Raises:
          OutputError: says which of the reasons it is.
        """
        if WORK_FOLDER in self.path.split("/"):
            raise OutputError(
                f"expected an output folder outside of what a job keeps in {WORK_FOLDER}. "
                f"Received: {self.path}. Choose another --output.")
        names = [f"part-00000.{suffix}", f"{WORK_FOLDER}/failed/part-00000.parquet"]
        conflict = overlap(self.path, inputs, names)
        if conflict is not None:
            raise OutputError(
                f"expected an output folder apart from the input. Received: {self.path}; "
                f"{conflict}. Choose another --output.")
        if storage.is_local(self.path) and os.path.isfile(self.path):
            raise OutputError(
                f"expected an output folder. Received: {self.path}, which is a file. "
                "Choose another --output.")
        try:
            plan = self.read_plan()
            first = None if plan is not None else self._first_file()
        except OutputError:
            raise
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        if first is not None:
            raise OutputError(
                f"expected an output folder that is empty, new or mirrorbeam's own. Received: "
                f"{self.path}, which holds {first} and no {WORK_FOLDER}/plan.json. "
                "Choose another --output; --overwrite does not touch what is not its own.")
        try:
            self._try_writing()
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        return plan

    def begin(self, plan: JobPlan, earlier: JobPlan | None) -> bool:
        """Makes the folder that of a new job, after `check`.

        Args:
          plan: the new job's.
          earlier: the plan of a job whose output is to be deleted first.

        Returns:
          Whether it is; False where another command has begun a job here since `check`. Two
          at the very same moment are told apart on a local disk alone: elsewhere the later
          plan holds, and workers with another one fail.
        """
        # Not while a worker of the earlier job is between its look at the plan and its commit.
        with file_lock(self.plan):
            if self.read_plan() != earlier:
                return False
            if earlier is not None:
                self.clear(earlier)
            temporary = self.temporary(uuid.uuid4().hex, "json")
            return write_once(temporary, self.plan, plan.to_json().encode())

    def clear(self, plan: JobPlan) -> None:
        """Deletes what an earlier job wrote by its plan, and nothing else.

        What is on its way goes first, so that none of it appears behind the rest. The plan
        goes last: a clearing that was cut short is repeated by the next one.
        """
        names = [split.name for split in plan.splits]
        suffix = sink_class(plan.output_format).suffix
        storage.delete([self.finishing])
        self.sweep(names)
        storage.delete([self.success, self.html_report, self.report])
        _delete_in(self.runs_folder, _RUN_FILE.fullmatch)
        storage.delete(self.commit(name) for name in names)
        storage.delete(self.failed_part(name) for name in names)
        storage.delete(self.part(name, suffix) for name in names)
        self.sweep(names)
        _delete_in(self.tuning_folder, _TUNING_FILE.fullmatch)
        storage.delete([self.inputs])
        storage.delete([self.plan])

    def sweep(self, splits: Iterable[str]) -> None:
        """Deletes files that killed attempts at these splits left on their way."""
        names = set(splits)

        def is_leftover(name: str) -> bool:
            match = _TEMPORARY_FILE.fullmatch(name)
            return match is not None and (match[1] is None or match[1] in names)

        _delete_in(self.temporary_folder, is_leftover)

    def sweep_attempts(self, splits: Iterable[str]) -> None:
        """Deletes the same of attempts alone, also of those at work; the folder stays."""
        names = set(splits)
        storage.delete([
            path for path in storage.sizes_in(self.temporary_folder)
            if _split_of(path) in names])

    def temporary_files(self, split: str) -> list[str]:
        """Names of the files on their way that attempts at a split have completed."""
        paths = storage.sizes_in(self.temporary_folder, f"{split}-")
        return [path.rpartition("/")[2] for path in paths]

    def attempted_splits(self) -> frozenset[str]:
        """Splits of which an attempt was killed, or more than one were at work at once."""
        splits = map(_split_of, storage.sizes_in(self.temporary_folder))
        return frozenset(split for split in splits if split is not None)

    def tidy(self) -> None:
        """Removes the local folder of files on their way if nothing is in it."""
        _delete_in(self.temporary_folder, lambda name: False)

    def _first_file(self) -> str | None:
        """A file that is there, but for those that a command left which was killed at once."""
        temporary = self.temporary_folder
        for path in storage.list_files(self.path, limit=_LISTED_LEFTOVERS):
            folder, _, name = path.rpartition("/")
            if folder != temporary or _TEMPORARY_FILE.fullmatch(name) is None:
                return path
        return None

    def _try_writing(self) -> None:
        probe = self.temporary(uuid.uuid4().hex, "probe")
        made = _missing_folders(os.path.dirname(probe)) if storage.is_local(probe) else []
        try:
            write_at_once(probe, f"{probe}s", b"")
            storage.delete([f"{probe}s"])
        finally:
            # Another command may have removed them, or have begun to use them.
            with contextlib.suppress(OSError):
                for folder in made:
                    os.rmdir(folder)

    def _unusable(self, error: Exception) -> OutputError:
        return OutputError(
            f"expected an output folder that can be written. Received: {self.path}; "
            f"{type(error).__name__}: {error}. Choose another --output, or see to its rights.")


def _split_of(path: str) -> str | None:
    """The split that a file on its way is of."""
    match = _TEMPORARY_FILE.fullmatch(path.rpartition("/")[2])
    return match and match[1]


def _delete_in(folder: str, is_own: Callable[[str], object]) -> None:
    """Deletes the files of a folder whose names are our own, and a local folder that is empty."""
    storage.delete(
        [path for path in storage.list_files(folder) if is_own(path.rpartition("/")[2])])
    if storage.is_local(folder):
        # Another process may have put a file there.
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _missing_folders(folder: str) -> list[str]:
    """The folders that making `folder` makes, innermost first."""
    missing = []
    while folder and not os.path.exists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing
