"""Going on with a job: whether it is the same one, and what is left of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipelines import storage
from pipelines.command_differences import command_differences
from pipelines.commit_records import CommitError, read_commit
from pipelines.fingerprint import Fingerprint
from pipelines.output_folder import OutputError, OutputFolder
from pipelines.output_paths import SUCCESS
from pipelines.plan import JobPlan
from pipelines.planned_inputs import PlannedInputs, changed_inputs
from pipelines.runs import read_runs
from pipelines.sinks import sink_class
from pipelines.splits import InputFile

_LOG = logging.getLogger(__name__)

# A run elsewhere that showed no sign of life for so long is taken for dead.
_RECENT_SECONDS = 300.0


def require_same_job(
    folder: OutputFolder,
    earlier: JobPlan,
    inputs: PlannedInputs | None,
    now: Fingerprint,
    files: Sequence[InputFile],
) -> None:
    """Refuses a command that would not go on with the folder's job.

    Args:
      folder: the output.
      earlier: the plan that is there.
      inputs: what it was made from, where that is known.
      now: the command's fingerprint.
      files: its input.

    Raises:
      OutputError: names what differs, and the ways out.
    """
    if earlier.fingerprint.digest == now.digest:
        return
    changed = changed_inputs(inputs.files, files) if inputs is not None else []
    differences = command_differences(earlier.fingerprint, now, changed)
    back = ", with the files as they were," if changed else ""
    raise OutputError(
        f"expected the command of the job that {folder.path} holds. Received another one: "
        f"{', '.join(differences)}; as planned → as given. Give the same command{back} to go on "
        "with that job; --overwrite deletes its output and starts anew, another --output leaves it."
    )


def committed_splits(folder: OutputFolder, plan: JobPlan) -> frozenset[str]:
    """Names of the splits whose record and part are there, from three listings.

    What the records promise is compared with the files where it counts: before a worker
    passes a split over, and before `_SUCCESS`.
    """
    sizes = folder.sizes()
    suffix = sink_class(plan.output_format).suffix
    return frozenset(
        split.name for split in plan.splits
        if folder.commit(split.name) in sizes and folder.part(split.name, suffix) in sizes)


def is_finished(folder: OutputFolder, plan: JobPlan) -> bool:
    """Whether the job has succeeded and its parts are as large as its report says.

    Those that are younger than `_SUCCESS` are compared with their records by checksum.
    """
    if storage.size_bytes(folder.success) is None:
        return False
    data = storage.read_bytes(folder.report)
    try:
        report = json.loads(data or b"{}")
        parts = storage.sizes_in(folder.path, "part-")
        if not report["succeeded"] or report["output_bytes"] != sum(parts.values()):
            return False
    except (ValueError, KeyError, TypeError):
        return False
    sink, plan_id = sink_class(plan.output_format)(), plan.id

    def holds(split: str) -> bool:
        try:
            return read_commit(folder, split, sink, plan_id=plan_id) is not None
        except CommitError as error:
            _LOG.warning("written after the job had succeeded: %s", error)
            return False

    with ThreadPoolExecutor(storage.readers_of(folder.path)) as pool:
        return all(pool.map(holds, sorted(written_late(folder, plan))))


def written_late(folder: OutputFolder, plan: JobPlan) -> frozenset[str]:
    """Names of splits with a part or failed part that is as young as `_SUCCESS`, or younger.

    So is one that an attempt replaced which was taken for dead, or that somebody altered.
    """
    succeeded_at = storage.times_in(folder.path, SUCCESS).get(folder.success)
    if succeeded_at is None:
        return frozenset()
    times = storage.times_in(folder.path, "part-") | storage.times_in(folder.failed_folder, "part-")
    late = {path for path, at in times.items() if at >= succeeded_at}
    suffix = sink_class(plan.output_format).suffix
    return frozenset(
        split.name for split in plan.splits
        if folder.part(split.name, suffix) in late or folder.failed_part(split.name) in late)


def warn_of_another_run(folder: OutputFolder) -> None:
    """Warns where an earlier command may still be at work on the same folder."""
    runs = read_runs(folder)
    if not runs or runs[-1].is_gone:
        return
    last = runs[-1]
    commit_at = max(storage.times_in(folder.commits_folder).values(), default=0.0)
    quiet_seconds = time.time() - max(last.started_at, commit_at)
    if quiet_seconds < _RECENT_SECONDS and storage.size_bytes(folder.success) is None:
        _LOG.warning(
            "another run of this job may still be at work: process %d on %s, last heard of %.0f s "
            "ago. Each split counts once whatever both do, but work is done twice.",
            last.pid, last.host, quiet_seconds)
