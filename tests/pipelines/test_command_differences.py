"""What differs between two commands is told in the words of their flags."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.command_differences import command_differences
from pipelines.fingerprint import FINGERPRINT_PARTS, fingerprint

PARTS: dict[str, Any] = dict.fromkeys(FINGERPRINT_PARTS) | {
    "inputs": {"files": 2, "bytes": 1200, "sha256": "ab"},
    "format_flags": {"csv_delimiter": ",", "csv_no_header": False},
    "model_digest": "0123456789abcdef",
    "provenance": True,
    "input_map": {},
}


def told(changed_inputs: tuple[str, ...] = (), **changes: Any) -> list[str]:
    other = fingerprint(PARTS | changes)
    return command_differences(fingerprint(PARTS), other, changed_inputs)


def test_equal_commands_do_not_differ():
    assert told() == []


@pytest.mark.parametrize("name", FINGERPRINT_PARTS)
def test_each_part_is_told(name: str):
    assert len(told(**{name: "another"})) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"keep": []}, "--keep (not given → none)"),
        ({"keep": ["a", "b"]}, "--keep (not given → a,b)"),
        ({"input_map": {"x": "a", "y": "b"}}, "--input_map (not given → x=a,y=b)"),
        ({"provenance": False}, "--provenance (on → off)"),
        ({"image_size": (224, 200)}, "--image_size (not given → 224,200)"),
        ({"model_digest": "fedcba9876"}, "the content of --model (01234567 → fedcba98)"),
        ({"preprocess": "fedcba9876"}, "the text of --preprocess (not given → fedcba98)"),
        ({"format_flags": {"csv_delimiter": ";", "csv_no_header": False}},
         "--csv_delimiter (, → ;)"),
        ({"inputs": {"files": 3, "bytes": 1200, "sha256": "cd"}},
         "--input (2 files of 1,200 bytes → 3 files of 1,200 bytes)"),
        ({"inputs": {"files": 2, "bytes": 1200, "sha256": "cd"}},
         "--input (2 files of 1,200 bytes, but not the same)"),
        ({"builder": "b" * 60}, f"--builder (not given → {'b' * 48}…)"),
    ],
)  # fmt: skip
def test_values_are_told_as_a_user_gives_them(changes: dict[str, Any], expected: str):
    assert told(**changes) == [expected]


def test_inputs_are_told_by_name_where_these_are_known():
    changes = {"inputs": {"files": 1, "bytes": 2, "sha256": ""}}
    assert told(("vanished: a", "new: b"), **changes) == ["--input (vanished: a; new: b)"]
