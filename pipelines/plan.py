"""What a job is to do, decided before it starts: `_mirrorbeam/plan.json`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pyarrow as pa

from pipelines.fingerprint import Fingerprint
from pipelines.splits import Split

PLAN_VERSION = 1


@dataclasses.dataclass(frozen=True)
class JobPlan:
    """The plan of one job; workers and later commands read it from the output folder.

    Attributes:
      splits: all of them; a split's index is its place here.
      row_unit: what `_row` counts: `row`, `record` or `file`; or it is the `byte` of the record.
      columns: the type, as text, of each column that the source gives.
      output_format: name of the sink.
      fingerprint: what makes another job the same job.
      arguments: the command's flags as plain values.
      max_failed_fraction: more failed rows than this share, and than 10, fail the job.
      started_at: seconds since 1970 when the command was given.
      rows: all input rows where the source knows them beforehand.
    """

    splits: tuple[Split, ...]
    row_unit: str
    columns: dict[str, str]
    output_format: str
    fingerprint: Fingerprint
    arguments: dict[str, Any]
    max_failed_fraction: float
    started_at: float
    rows: int | None = None

    @property
    def id(self) -> str:
        """Equal for plans by which the same rows get to the same places, of whichever command."""
        splits = json.dumps([split.to_json() for split in self.splits], ensure_ascii=False)
        text = f"{self.fingerprint.digest}\n{splits}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """The text of `plan.json`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["splits"] = []
        values["fingerprint"] = dataclasses.asdict(self.fingerprint)
        text = json.dumps({"mirrorbeam_plan": PLAN_VERSION} | values, indent=1, ensure_ascii=False)
        # A line a split: there may be a hundred thousand, and few encoders are as slow as this one.
        encoder = json.JSONEncoder(ensure_ascii=False)
        lines = ",\n  ".join(encoder.encode(split.to_json()) for split in self.splits)
        return text.replace('"splits": []', f'"splits": [\n  {lines}\n ]', 1) if lines else text

    @classmethod
    def from_json(cls, text: str | bytes) -> JobPlan:
        """The inverse of `to_json`.

        Raises:
          ValueError: the text is no plan, or one of another version.
        """
        values = json.loads(text)
        version = values.pop("mirrorbeam_plan", None) if isinstance(values, dict) else None
        if version != PLAN_VERSION:
            raise ValueError(
                f"expected a plan of version {PLAN_VERSION}. Received: version {version}. "
                "Use the release that wrote it, or another output folder.")
        values["splits"] = tuple(Split.from_json(split) for split in values["splits"])
        values["fingerprint"] = Fingerprint(**values["fingerprint"])
        return cls(**values)


def columns_as_text(schema: pa.Schema) -> dict[str, str]:
    """Column types by name, as `JobPlan.columns` holds them."""
    return {field.name: str(field.type) for field in schema}
