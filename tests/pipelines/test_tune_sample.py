"""Which rows of an input are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import CommandError
from pipelines.tune_sample import take_sample
from transforms.block import Block
from transforms.engine.signature import TensorField
from transforms.failures import Failure
from transforms.matching import Feed

FIELD = TensorField("x", "float32", (None,))
FAILURE = Failure("a.csv", 3, "read", "E", "row 3 is broken", None)


def block(lengths: Sequence[int], failures: tuple[Failure, ...] = ()) -> Block:
    column = pa.array([[float(length)] * length for length in lengths], pa.list_(pa.float32()))
    return Block(pa.record_batch({"c": column}), failures)


def feeds(schema: pa.Schema) -> tuple[Feed, ...]:
    assert schema.names == ["c"]
    return (Feed("c", "x", FIELD),)


def test_rows_of_the_commonest_shape_in_order():
    sample = take_sample([block([2, 3, 3]), block([1, 3], (FAILURE,))], feeds)
    np.testing.assert_array_equal(sample.columns["x"], np.full((3, 3), 3.0))
    assert (sample.rows, sample.rows_read, sample.shapes) == (3, 6, 3)


def test_no_more_is_read_than_is_needed():
    def endless() -> Iterator[Block]:
        while True:
            yield block([2] * 10)

    sample = take_sample(endless(), feeds, most_rows=25)
    assert (sample.rows, sample.rows_read) == (25, 30)
    sample = take_sample(endless(), feeds, most_bytes=200)
    assert (sample.rows, sample.rows_read) == (30, 30)


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([], "no rows (0 rows read)"),
        ([block([])], "no rows (0 rows read)"),
        ([block([], (FAILURE,))], "row 3 is broken (1 rows read)"),
    ],
    ids=["no blocks", "empty", "failed"],
)
def test_without_a_good_row_the_reason_is_told(blocks: list[Block], reason: str):
    with pytest.raises(CommandError) as caught:
        take_sample(blocks, feeds)
    assert reason in str(caught.value)
