"""What goes into a model and what comes out, by name, dtype and shape."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class TensorField:
    """One named tensor of a model, without its row dimension.

    Attributes:
      name: the model's own name for it.
      dtype: TensorFlow's name of the dtype, such as ``float32`` or ``string``.
      shape: dimensions after the row dimension; ``None`` for one that is free, and
        ``None`` in place of the tuple where even the rank is free.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None = ()

    @property
    def is_static(self) -> bool:
        """Whether every dimension after the rows is known."""
        return self.shape is not None and all(size is not None for size in self.shape)

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[?, …]"
        sizes = ",".join("?" if size is None else str(size) for size in (None, *self.shape))
        return f"{self.dtype}[{sizes}]"


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one way to call a model.

    Attributes:
      name: ``keras`` for a Keras file, else the SavedModel signature's name.
      inputs: what the model takes.
      outputs: what it gives; ``None`` where only building the model can tell.
    """

    name: str
    inputs: tuple[TensorField, ...]
    outputs: tuple[TensorField, ...] | None = None

    @property
    def takes_records(self) -> bool:
        """Whether the only input is one string a row: raw records can be fed as they are."""
        return (
            len(self.inputs) == 1
            and self.inputs[0].dtype == "string"
            and self.inputs[0].shape in ((), None)
        )

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Signature:
        """The inverse of ``to_json``, also after a trip through JSON text."""
        outputs = values["outputs"]
        return cls(
            name=values["name"],
            inputs=tuple(_field_from_json(field) for field in values["inputs"]),
            outputs=None if outputs is None else tuple(map(_field_from_json, outputs)),
        )


def _field_from_json(values: dict[str, Any]) -> TensorField:
    shape = values["shape"]
    return TensorField(values["name"], values["dtype"], None if shape is None else tuple(shape))
