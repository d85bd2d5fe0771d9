from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.splits import Split
from pipelines.unchanged_inputs import InputChangedError, unchanged
from tests.pipelines.jobs import block

SECOND_NS = 10**9


def read(path: Path, planned_bytes: int | None, planned_ns: int | None) -> int:
    """How many blocks a split of a file gives that was planned so."""
    split = Split(0, (str(path),), file_bytes=planned_bytes, modified_ns=planned_ns)
    return len(list(unchanged(split, iter([block(0, [0, 1]), block(0, [], total=2)]))))


@pytest.mark.parametrize(
    ("now_ns", "planned_ns"),
    [
        (5 * SECOND_NS + 7, 5 * SECOND_NS + 7),
        # A listing told more digits than the file's own metadata, or fewer.
        (5 * SECOND_NS, 5 * SECOND_NS + 7),
        (5 * SECOND_NS + 7, 5 * SECOND_NS),
        (5 * SECOND_NS, None),
    ],
)
def test_a_file_of_the_planned_size_and_time(tmp_path: Path, now_ns: int, planned_ns: int | None):
    path = tmp_path / "a.csv"
    path.write_bytes(b"1234")
    os.utime(path, ns=(now_ns, now_ns))
    assert read(path, 4, planned_ns) == 2


@pytest.mark.parametrize(
    ("planned_bytes", "planned_ns"),
    [(4, 5 * SECOND_NS + 8), (4, 4 * SECOND_NS), (4, 6 * SECOND_NS), (5, 5 * SECOND_NS + 7),
     (5, None)],
)  # fmt: skip
def test_a_file_of_another_size_or_time(
    tmp_path: Path, planned_bytes: int, planned_ns: int | None
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"1234")
    os.utime(path, ns=(0, 5 * SECOND_NS + 7))
    with pytest.raises(InputChangedError, match="4 bytes written at 1970-01-01 00:00:05"):
        read(path, planned_bytes, planned_ns)


def test_images_and_splits_of_older_plans_are_not_compared(tmp_path: Path) -> None:
    assert read(tmp_path / "none", None, None) == 2
