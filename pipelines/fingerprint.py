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


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """The digest of a job and the parts it was made from.

    Attributes:
      digest: SHA-256 over the parts, in hexadecimal digits.
      parts: plain values by the names in `FINGERPRINT_PARTS`.
    """

    digest: str
    parts: dict[str, Any]


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


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
