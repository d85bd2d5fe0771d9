"""The steps of one model: one trace for each combination of column dtypes, as a rule one in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from transforms.engine.arrays import dtype_name
from transforms.engine.preprocessing import Preprocess
from transforms.engine.replicas import Replicas
from transforms.engine.signature import TensorField
from transforms.engine.slicing import Columns
from transforms.engine.step import CallableModel, Step


class Traces:
    """Finds the step that takes a batch, and traces it where there is none.

    A dimension in which batches differ becomes free, so that a column of changing length costs
    one more trace and not one for each length.
    """

    def __init__(
        self,
        model: CallableModel,
        replicas: Replicas,
        fields: Sequence[TensorField] | None,
        preprocess: Preprocess | None,
        xla: bool,
    ) -> None:
        """Traces for the fields, where they are known.

        Raises:
          SetupError: the step cannot be traced.
        """
        self._model = model
        self._replicas = replicas
        self._preprocess = preprocess
        self._xla = xla
        self._steps: dict[tuple[str, ...], Step] = {}
        self._replaced = 0
        self._fields = tuple(fields) if fields is not None else None
        self.latest: Step | None = self._trace(self._fields) if self._fields else None

    @property
    def count(self) -> int:
        """How often a replica's part of a step was traced."""
        return self._replaced + sum(step.traces for step in self._steps.values())

    def step_for(self, columns: Columns) -> Step:
        """The step that takes these arrays.

        Raises:
          SetupError: there is none, and they cannot be traced.
        """
        names = [field.name for field in self._fields] if self._fields else list(columns)
        step = self._steps.get(tuple(dtype_name(columns[name]) for name in names))
        if step is not None and _holds(step.fields, columns):
            return step
        seen = _fields_of(columns, names)
        known = step.fields if step is not None else self._fields
        if known is not None:
            seen = tuple(_merge(*pair) for pair in zip(known, seen, strict=True))
        self._fields = self._fields or seen
        self.latest = self._trace(seen)
        return self.latest

    def _trace(self, fields: Sequence[TensorField]) -> Step:
        step = Step(self._model, self._replicas, fields, preprocess=self._preprocess, xla=self._xla)
        key = tuple(field.dtype for field in fields)
        if key in self._steps:
            self._replaced += self._steps[key].traces
        self._steps[key] = step
        return step


def _fields_of(columns: Columns, names: Sequence[str]) -> tuple[TensorField, ...]:
    return tuple(
        TensorField(name, dtype_name(columns[name]), tuple(columns[name].shape[1:]))
        for name in names
    )


def _holds(fields: Sequence[TensorField], columns: Columns) -> bool:
    for field in fields:
        sizes = columns[field.name].shape[1:]
        if field.shape is None:
            continue
        if len(sizes) != len(field.shape):
            return False
        if any(
            want is not None and want != size for want, size in zip(field.shape, sizes, strict=True)
        ):
            return False
    return True


def _merge(known: TensorField, seen: TensorField) -> TensorField:
    if known.shape is None or seen.shape is None or len(known.shape) != len(seen.shape):
        return dataclasses.replace(seen, shape=None)
    shape = tuple(a if a == b else None for a, b in zip(known.shape, seen.shape, strict=True))
    return dataclasses.replace(seen, shape=shape)
