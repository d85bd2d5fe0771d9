"""What makes two jobs the same job: one digest over everything that changes their output."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.splits import InputFile

# Everything that changes a row's content or place. Not in it, since they change neither:
# batch size, devices, XLA, split size, limits.
FINGERPRINT_PARTS = (
    "inputs",
    "input_format",
    "format_flags",
    "model_digest",
    "signature",
    "builder",
    "custom_objects",
    "precision",
    "input_map",
    "image_size",
    "preprocess",
    "keep",
    "output_format",
    "provenance",
)


# Characters of a value where two are told apart.
_SHOWN = 24


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """The digest of a job and the parts it was made from.

    Attributes:
      digest: SHA-256 over the parts, in hexadecimal digits.
      parts: plain values by the names in `FINGERPRINT_PARTS`.
    """

    digest: str
    parts: dict[str, Any]

    def differences(self, other: Fingerprint) -> list[str]:
        """The parts in which another job differs, as `name: this → that`, each cut short.

        Of the formats' flags only those that differ are told.
        """
        told: list[str] = []
        for name in FINGERPRINT_PARTS:
            mine, its = self.parts.get(name), other.parts.get(name)
            if name == "format_flags" and isinstance(mine, dict) and isinstance(its, dict):
                told += _differences(mine, its)
            else:
                told += _differences({name: mine}, {name: its})
        return told


def fingerprint(parts: Mapping[str, Any]) -> Fingerprint:
    """The fingerprint of a job.

    Args:
      parts: plain JSON values by the names in `FINGERPRINT_PARTS`, every one of them.

    Raises:
      KeyError: a part is missing, or one is unknown.
    """
    if set(parts) != set(FINGERPRINT_PARTS):
        wrong = sorted(set(parts) ^ set(FINGERPRINT_PARTS))
        raise KeyError(f"expected the parts {', '.join(FINGERPRINT_PARTS)}. Wrong: {wrong}")
    plain = json.loads(_text(dict(parts)))
    return Fingerprint(hashlib.sha256(_text(plain).encode()).hexdigest(), plain)


def input_mark(files: Sequence[InputFile]) -> dict[str, Any]:
    """Stands for a list of files, with all that is known of each, in a few values."""
    names = [field.name for field in dataclasses.fields(InputFile)]
    digest = hashlib.sha256()
    encoder = json.JSONEncoder(ensure_ascii=False)
    for file in files:
        known = encoder.encode([getattr(file, name) for name in names])
        digest.update(f"{known}\n".encode())
    return {
        "files": len(files),
        "bytes": sum(file.size_bytes for file in files),
        "sha256": digest.hexdigest(),
    }


def _differences(mine: Mapping[str, Any], its: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {_short(mine.get(name))} → {_short(its.get(name))}"
        for name in dict.fromkeys([*mine, *its])
        if _text(mine.get(name)) != _text(its.get(name))
    ]


def _short(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
