"""Equal jobs have equal fingerprints; every part that changes the output changes it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.fingerprint import FINGERPRINT_PARTS, fingerprint, input_mark
from pipelines.splits import InputFile

PARTS: dict[str, Any] = {name: f"value of {name}" for name in FINGERPRINT_PARTS} | {
    "image_size": (224, 224), "keep": ["a"], "precision": None}


def test_the_order_of_the_parts_does_not_matter() -> None:
    again = fingerprint(dict(reversed(PARTS.items())))
    assert again == fingerprint(PARTS)
    assert len(again.digest) == 64


@pytest.mark.parametrize("name", FINGERPRINT_PARTS)
def test_each_part_counts(name: str) -> None:
    mine, other = fingerprint(PARTS), fingerprint(PARTS | {name: "another"})
    assert mine.digest != other.digest


def test_the_order_of_kept_columns_counts() -> None:
    first, second = (fingerprint(PARTS | {"keep": keep}) for keep in (["a", "b"], ["b", "a"]))
    assert first.digest != second.digest


@pytest.mark.parametrize("change", [{"batch_size": 8}, None])
def test_parts_are_the_known_ones(change: dict[str, Any] | None) -> None:
    parts = PARTS | change if change else {k: v for k, v in PARTS.items() if k != "keep"}
    with pytest.raises(KeyError, match="batch_size" if change else "keep"):
        fingerprint(parts)


def test_an_input_mark_knows_names_sizes_and_order() -> None:
    files = [InputFile("a", 1), InputFile("b", 2)]
    mark = input_mark(files)
    assert (mark["files"], mark["bytes"]) == (2, 3)
    others = [files[::-1], files[:1], [InputFile("a", 2), files[1]], [InputFile("c", 1), files[1]]]
    assert len({input_mark(other)["sha256"] for other in [files, *others]}) == 5
    assert input_mark(list(files)) == mark
