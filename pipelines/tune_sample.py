"""A few thousand rows of an input, as the model will get them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipelines.errors import CommandError
from pipelines.feeding import Feeding
from pipelines.read_stage import ReadDoFn
from pipelines.splits import Split
from transforms.block import Block
from transforms.conversion import ArrayGroup
from transforms.engine.arrays import array_bytes
from transforms.engine.slicing import Columns, cut, join
from transforms.features import columns_to_arrays
from transforms.matching import Feed

MOST_ROWS = 4096
MOST_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of one shape.

    Attributes:
      columns: arrays `[rows, …]` by the fed names.
      rows: how many there are.
      rows_read: how many were read for them.
      shapes: how many shapes these had; the sample has the commonest.
    """

    columns: Columns
    rows: int
    rows_read: int
    shapes: int


def read_blocks(feeding: Feeding, splits: Iterable[Split]) -> Iterator[Block]:
    """The blocks of some splits, one after the other, as a job reads them.

    Raises:
      CommandError: a file cannot be reached.
    """
    reader = ReadDoFn(feeding.source, feeding.padded)
    for split in splits:
        try:
            yield from reader.process(split)
        except OSError as error:
            raise CommandError(
                f"expected input files that can be read. Received: {type(error).__name__}: "
                f"{error}. Check the path and its permissions."
            ) from error


def take_sample(
    blocks: Iterable[Block],
    feeds_of: Callable[[pa.Schema], Sequence[Feed]],
    *,
    most_rows: int = MOST_ROWS,
    most_bytes: int = MOST_BYTES,
) -> Sample:
    """Converts rows until there are enough, and takes those of the commonest shape.

    Args:
      blocks: rows as they are read; no more of them than needed are asked for.
      feeds_of: which columns of a block are fed.
      most_rows: rows that are enough.
      most_bytes: bytes of converted rows that are enough.

    Raises:
      FeatureError: columns do not fit.
      CommandError: there are no rows, or none that can be converted.
    """
    groups: dict[object, list[ArrayGroup]] = {}
    rows_read = good_rows = good_bytes = 0
    reason = "no rows"
    for block in blocks:
        conversion = columns_to_arrays(block.batch, feeds_of(block.batch.schema))
        rows_read += block.batch.num_rows + len(block.failures)
        messages = [error.message for error in conversion.errors]
        messages += [failure.message for failure in block.failures]
        reason = messages[0] if messages and reason == "no rows" else reason
        for group in conversion.groups:
            groups.setdefault(_shape_of(group), []).append(group)
            good_rows += _rows_of(group)
            good_bytes += sum(map(array_bytes, group.arrays.values()))
        if good_rows >= most_rows or good_bytes >= most_bytes:
            break
    if not groups:
        raise CommandError(
            f"expected an input with rows that the model takes. Received: {reason} "
            f"({rows_read} rows read). Correct --input, or mend the rows."
        )
    commonest = max(groups.values(), key=lambda alike: sum(map(_rows_of, alike)))
    columns = join([group.arrays for group in commonest])
    rows = min(most_rows, sum(map(_rows_of, commonest)))
    return Sample(cut(columns, 0, rows), rows, rows_read, len(groups))


def _shape_of(group: ArrayGroup) -> object:
    return tuple(
        (name, values.dtype.str, values.shape[1:]) for name, values in group.arrays.items()
    )


def _rows_of(group: ArrayGroup) -> int:
    values: np.ndarray = next(iter(group.arrays.values()))
    return len(values)
