"""What tells a command from the one that planned a job, in the words of its flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.fingerprint import FINGERPRINT_PARTS, Fingerprint

# Parts that stand for files, by what a message calls them; they are told by their digests' start.
_CONTENTS = {"model_digest": "the content of --model", "preprocess": "the text of --preprocess"}
_NONE = "not given"

# Characters of a value, and of a digest, that are shown.
_SHOWN = 48
_DIGITS = 8


def command_differences(
    planned: Fingerprint, given: Fingerprint, changed_inputs: Sequence[str]
) -> list[str]:
    """What differs, as `--flag (as planned → as given)`, each cut short.

    Args:
      planned: of the job.
      given: of the command.
      changed_inputs: phrases on the files that differ, where these are known.
    """
    told: list[str] = []
    for part in FINGERPRINT_PARTS:
        before, now = planned.parts.get(part), given.parts.get(part)
        if part == "format_flags" and isinstance(before, dict) and isinstance(now, dict):
            told += [
                _difference(f"--{flag}", before.get(flag), now.get(flag))
                for flag in dict.fromkeys([*before, *now])
                if before.get(flag) != now.get(flag)
            ]
        elif before == now:
            continue
        elif part == "inputs":
            told.append(f"--input ({'; '.join(changed_inputs) or _files(before, now)})")
        elif part in _CONTENTS:
            told.append(_difference(_CONTENTS[part], _digest(before), _digest(now)))
        else:
            told.append(_difference(f"--{part}", before, now))
    return told


def _difference(name: str, before: Any, now: Any) -> str:
    return f"{name} ({_value(before)} → {_value(now)})"


def _files(before: Any, now: Any) -> str:
    try:
        counts = [f"{mark['files']:,} files of {mark['bytes']:,} bytes" for mark in (before, now)]
    except (TypeError, KeyError):
        return "other files"
    return " → ".join(counts) if counts[0] != counts[1] else f"{counts[0]}, but not the same"


def _digest(digest: str | None) -> str | None:
    return None if digest is None else digest[:_DIGITS]


def _value(value: Any) -> str:
    """A plain value as a user gives it."""
    if value is None or value == {}:
        return _NONE
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        text = ",".join(f"{name}={item}" for name, item in value.items())
    elif isinstance(value, (list, tuple)):
        text = ",".join(map(str, value)) or "none"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
