"""The record that a row leaves when it could not be scored."""

from __future__ import annotations

from typing import Any, NamedTuple

STAGES = ("read", "decode", "convert", "infer")


class Failure(NamedTuple):
    """One row that has no prediction, and why.

    Attributes:
      source: file, table or other origin of the row; ``None`` where the pipeline has none.
      row: position in the source, or in the element where there is no source.
      stage: one of ``STAGES``.
      error: name of the error's class.
      message: what the error said.
      data: the row as it was: a dict by column, or the undecoded bytes.
    """

    source: str | None
    row: int | None
    stage: str
    error: str
    message: str
    data: Any = None

    def as_dict(self) -> dict[str, Any]:
        """The failure as ``MirroredInference(...).failures`` gives it."""
        return self._asdict()
