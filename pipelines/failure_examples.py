"""The first failed rows of each stage and error, from the failed parts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.output_folder import OutputFolder
from pipelines.redaction import redacted
from pipelines.retrying import OutageError
from transforms.block import ROW_COLUMN, SOURCE_COLUMN

EXAMPLES = 3
# Reading more would hold the end of a job up, and nobody reads more.
MOST_PARTS, MOST_ROWS, MOST_KINDS = 10, 20_000, 20
_MOST_CHARACTERS = 600
_BATCH_ROWS = 1000

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Example:
    """One failed row.

    Attributes:
      source: the file that it came from, if that is known.
      row: its place there.
      message: what was expected and received, cut short.
    """

    source: str | None
    row: int | None
    message: str


def first_examples(
    folder: OutputFolder, records: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], list[Example]]:
    """A few failed rows of each kind, from the first parts that have some.

    Args:
      folder: the job's output.
      records: commit records of its splits.

    Returns:
      By stage and error, at most `EXAMPLES` rows. Kinds that none of `MOST_PARTS` parts shows
      in its first `MOST_ROWS` rows are not in it.
    """
    first: dict[tuple[str, str], str] = {}
    for record in records:
        for stage, errors in record["failures"].items():
            for error in errors:
                first.setdefault((stage, error), record["split"])
    wanted = dict(list(first.items())[:MOST_KINDS])
    splits = list(dict.fromkeys(wanted.values()))[:MOST_PARTS]
    found: dict[tuple[str, str], list[Example]] = {}
    if not splits:
        return found
    with ThreadPoolExecutor(len(splits)) as pool:
        parts = pool.map(lambda split: _examples_of(folder.failed_part(split), wanted), splits)
        for part in parts:
            for kind, examples in part.items():
                known = found.setdefault(kind, [])
                known += examples[: EXAMPLES - len(known)]
    return found


def _examples_of(
    path: str, wanted: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], list[Example]]:
    found: dict[tuple[str, str], list[Example]] = {}
    columns = [SOURCE_COLUMN, ROW_COLUMN, "_stage", "_error", "_message"]
    try:
        with storage.open_to_read(path) as file, pq.ParquetFile(file) as part:
            seen = 0
            for batch in part.iter_batches(_BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    examples = found.setdefault((row["_stage"], row["_error"]), [])
                    if len(examples) < EXAMPLES:
                        message = _cut(redacted(row["_message"] or ""))
                        source = row[SOURCE_COLUMN]
                        examples.append(
                            Example(source and redacted(source), row[ROW_COLUMN], message)
                        )
                seen += batch.num_rows
                if seen >= MOST_ROWS:
                    break
    except (OSError, OutageError, pa.ArrowException, KeyError) as error:
        _LOG.warning("no examples of failed rows from %s: %s", path, error)
    return {kind: examples for kind, examples in found.items() if kind in wanted}


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
