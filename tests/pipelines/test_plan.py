"""A plan survives being written and read."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pytest

from pipelines.plan import JobPlan, columns_as_text
from pipelines.splits import Split, numbered
from tests.pipelines.jobs import plan


def test_a_plan_reads_back_equal() -> None:
    splits = (Split(0, ("gs://b/ü.png", "gs://b/b.png"), 1, None, 5, 6), Split(1, ("c",), 2, 3))
    original = plan(splits=0, rows=7, max_failed_fraction=0.5, row_unit="byte")
    original = JobPlan(**{**vars(original), "splits": splits})
    assert JobPlan.from_json(original.to_json()) == original
    assert JobPlan.from_json(original.to_json().encode()) == original


def test_the_text_names_what_people_look_for() -> None:
    values = json.loads(plan(splits=2).to_json())
    assert values["row_unit"] == "row"
    assert [split["index"] for split in values["splits"]] == [0, 1]
    assert values["fingerprint"]["digest"] == plan().fingerprint.digest
    assert values["arguments"] == {"model": "m.keras"}


def test_a_plan_from_before_files_were_compared_keeps_its_id() -> None:
    older = json.loads(plan(splits=2).to_json())
    for split in older["splits"]:
        split.pop("file_bytes", None)
        split.pop("modified_ns", None)
    # As that release computed it, and wrote it into each commit record.
    splits = json.dumps(older["splits"], ensure_ascii=False)
    digest = hashlib.sha256(f"{older['fingerprint']['digest']}\n{splits}".encode()).hexdigest()
    assert JobPlan.from_json(json.dumps(older)).id == digest[:32]


@pytest.mark.parametrize("text", ["[]", "{}", '{"mirrorbeam_plan": 99}'])
def test_other_json_is_no_plan(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a plan of version 1\. Received: version"):
        JobPlan.from_json(text)


def test_column_types_are_text() -> None:
    schema = pa.schema([("a", pa.list_(pa.float32(), 3)), ("b", pa.string())])
    assert columns_as_text(schema) == {"a": "fixed_size_list<item: float>[3]", "b": "string"}


def test_a_split_is_a_line() -> None:
    lines = plan(splits=3).to_json().splitlines()
    assert sum('"files"' in line for line in lines) == 3
    assert '"splits": []' in plan(splits=0).to_json()


@pytest.mark.parametrize(("count", "first", "last"), [
    (1, "00000", "00000"), (100_000, "00000", "99999"), (100_001, "000000", "100000")])
def test_names_sort_as_splits_do(count: int, first: str, last: str) -> None:
    splits = numbered(plan(splits=count).splits)
    names = [split.name for split in splits]
    assert (names[0], names[-1]) == (first, last)
    assert names == sorted(names)
    assert [split.index for split in splits] == list(range(count))
    assert Split.from_json(splits[-1].to_json()) == splits[-1]
