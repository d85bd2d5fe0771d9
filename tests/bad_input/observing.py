"""Runs a case as a job does, up to the arrays that a model would get, without TensorFlow."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

from pipelines.errors import CommandError
from pipelines.feeding import Feeding, choose_feeding
from pipelines.inputs import match_files
from pipelines.sources import source_class
from pipelines.splits import Split
from tests.bad_input.cases import Case
from tests.bad_input.outcomes import Failed, Outcome, PassedOver, Refused, Scored, Stopped
from tests.bad_input.sound import ROWS, SIGNATURES, SUFFIXES, write_sound
from transforms.conversion import FeatureError
from transforms.failures import Failure
from transforms.features import columns_to_arrays
from transforms.matching import Feed

SPLIT_BYTES = 64 * 2**20


@dataclasses.dataclass
class _Read:
    """What was read, by file."""

    rows: dict[str, list[int]]
    failures: dict[str, list[Failure]]


def observed(name: str, case: Case, folder: Path, *, alone: bool) -> Outcome:
    """What becomes of the damaged file of a case.

    Args:
      name: the format.
      case: whose file to write.
      folder: an empty one.
      alone: leave out the sound files before and behind it.
    """
    suffix = SUFFIXES[name]
    damaged = folder / f"b{suffix}"
    case.make(damaged)
    sound = [] if alone else [folder / f"a{suffix}", folder / f"c{suffix}"]
    for path in sound:
        write_sound(name, path)
    try:
        feeding, splits = _planned(name, case, folder)
    except (CommandError, FeatureError, OSError) as error:
        # Opening a file may raise OSError: the command makes a refusal of it.
        return Refused(" ".join(str(error).split()))
    if case.spoil is not None:
        case.spoil(damaged)
    try:
        read = _read(feeding, splits)
    except OSError as error:
        return Stopped(type(error).__name__)
    for path in sound:
        assert read.rows[str(path)] == list(range(1 if name == "images" else ROWS)), path
        assert not read.failures[str(path)], read.failures[str(path)]
    if str(damaged) not in {path for split in splits for path in split.files}:
        return PassedOver()
    failed = tuple(
        Failed(failure.row or 0, failure.stage, failure.error, failure.message)
        for failure in read.failures[str(damaged)]
    )
    return Scored(tuple(read.rows[str(damaged)]), failed)


def _planned(name: str, case: Case, folder: Path) -> tuple[Feeding, tuple[Split, ...]]:
    found, files = match_files([str(folder)])
    assert found == name
    source = dataclasses.replace(source_class(name)(), **case.source)
    planned = source.plan(files, SPLIT_BYTES)
    feeding = choose_feeding(source, planned.schema, SIGNATURES[name], input_map={}, keep=None)
    return feeding, planned.splits


def _read(feeding: Feeding, splits: tuple[Split, ...]) -> _Read:
    read = _Read(collections.defaultdict(list), collections.defaultdict(list))
    feeds = feeding.feeds
    if feeding.preprocess is not None:
        # Images are resized on the device, and fed to that as they are.
        feeds = tuple(Feed(feed.column, feed.column, feeding.spec[feed.column]) for feed in feeds)
    for split in splits:
        total = 0
        for block in feeding.source.read(split):
            failures = list(block.failures)
            origins = block.batch.column("_source").to_pylist()
            numbers = block.batch.column("_row").to_pylist()
            errors = _conversion_errors(block.batch, feeds)
            for row in range(block.batch.num_rows):
                if row in errors:
                    failures.append(Failure(origins[row], numbers[row], "convert", *errors[row]))
                else:
                    read.rows[origins[row]].append(numbers[row])
            for failure in failures:
                read.failures[str(failure.source)].append(failure)
            total += len(origins) + len(block.failures)
            if block.is_last:
                assert block.rows_in_split == total
    return read


def _conversion_errors(batch: object, feeds: tuple[Feed, ...]) -> dict[int, tuple[str, str]]:
    conversion = columns_to_arrays(batch, feeds)
    return {error.row: (error.error, error.message) for error in conversion.errors}
