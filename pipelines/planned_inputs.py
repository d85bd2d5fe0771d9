"""What a plan was made from: `_mirrorbeam/inputs.json`, for commands that resume the job."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Sequence

import pyarrow as pa

from pipelines import storage
from pipelines.output_folder import OutputFolder
from pipelines.splits import InputFile

_NAMED_FILES = 3


@dataclasses.dataclass(frozen=True)
class PlannedInputs:
    """The input as it was when the job was planned.

    Attributes:
      files: all of them, sorted by path.
      schema: the columns that they give.
    """

    files: tuple[InputFile, ...]
    schema: pa.Schema

    def to_json(self) -> str:
        """The text of `inputs.json`: a line for each file."""
        schema = base64.b64encode(self.schema.serialize()).decode()
        encoder = json.JSONEncoder(ensure_ascii=False)
        lines = ",\n  ".join(encoder.encode(list(dataclasses.astuple(f))) for f in self.files)
        return f'{{\n "schema": "{schema}",\n "files": [\n  {lines}\n ]\n}}\n'

    @classmethod
    def from_json(cls, text: str | bytes) -> PlannedInputs:
        """The inverse of `to_json`.

        Raises:
          ValueError: the text is something else.
        """
        try:
            values = json.loads(text)
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(values["schema"])))
            return cls(tuple(InputFile(*file) for file in values["files"]), schema)
        except (KeyError, TypeError, pa.ArrowException) as error:
            raise ValueError(f"expected the text of inputs.json. Received: {error!r}") from error


def read_inputs(folder: OutputFolder) -> PlannedInputs | None:
    """The inputs of the folder's plan; None where they cannot be told."""
    data = storage.read_bytes(folder.inputs)
    try:
        return None if data is None else PlannedInputs.from_json(data)
    except ValueError:
        return None


def changed_inputs(then: Sequence[InputFile], now: Sequence[InputFile]) -> list[str]:
    """Says which files changed, vanished or came, a phrase for each kind and some by name."""
    before = {file.path: file for file in then}
    after = {file.path: file for file in now}
    changed = [path for path in before if path in after and before[path] != after[path]]
    vanished = [path for path in before if path not in after]
    new = [path for path in after if path not in before]

    def size_or_time(path: str) -> str:
        old, file = before[path], after[path]
        if old.size_bytes != file.size_bytes:
            return f"{path} ({old.size_bytes:,} → {file.size_bytes:,} bytes)"
        return f"{path} (written again)"

    return [
        *_phrase("changed", changed, size_or_time),
        *_phrase("vanished", vanished, str),
        *_phrase("new", new, str),
    ]


def _phrase(kind: str, paths: Sequence[str], describe: Callable[[str], str]) -> list[str]:
    if not paths:
        return []
    more = f" and {len(paths) - _NAMED_FILES:,} more" if len(paths) > _NAMED_FILES else ""
    return [f"{kind}: {', '.join(map(describe, paths[:_NAMED_FILES]))}{more}"]
