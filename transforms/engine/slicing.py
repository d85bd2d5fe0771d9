"""From groups of rows to one slice per replica, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from transforms.engine.errors import SetupError
from transforms.engine.host_tensors import aligned_empty

Columns = Mapping[str, np.ndarray]


def count_rows(columns: Columns) -> int:
    """Rows of a group of columns.

    Raises:
      ValueError: there are no columns, or they differ in length.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"expected columns of one length. Received: {lengths}.")
    return next(iter(lengths.values()))


def join(groups: Sequence[Columns]) -> Columns:
    """Puts groups of rows after each other; one group alone is returned uncopied."""
    if len(groups) == 1:
        return groups[0]
    return {name: _stacked([group[name] for group in groups]) for name in groups[0]}


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    rows = sum(map(len, parts))
    # TensorFlow then takes the copy that joining needs without another one.
    target = aligned_empty((rows, *parts[0].shape[1:]), parts[0].dtype)
    return np.concatenate(parts, out=target)


def cut(columns: Columns, start: int, stop: int) -> Columns:
    """Rows `start` to `stop`, as views."""
    return {name: values[start:stop] for name, values in columns.items()}


def pad(columns: Columns, rows: int) -> Columns:
    """Repeats the last row until there are `rows`.

    A copy of a real row is as safe for the model as the row itself; zeros may not be.
    """
    missing = rows - count_rows(columns)
    if missing == 0:
        return columns
    return {
        name: _stacked([values, np.repeat(values[-1:], missing, axis=0)])
        for name, values in columns.items()
    }


def slice_for_replicas(columns: Columns, replicas: int) -> list[Columns]:
    """One equal slice per replica, as views.

    Raises:
      ValueError: the rows do not divide, or there are fewer rows than replicas.
    """
    rows = count_rows(columns)
    if rows == 0 or rows % replicas:
        raise ValueError(f"expected a multiple of {replicas} rows. Received: {rows}.")
    each = rows // replicas
    return [cut(columns, index * each, (index + 1) * each) for index in range(replicas)]


def gather(slices: Sequence[Columns], rows: int) -> dict[str, np.ndarray]:
    """Joins the replicas' outputs in order and drops the padding behind `rows`."""
    return {name: values[:rows] for name, values in join_outputs(slices).items()}


def join_outputs(parts: Sequence[Columns]) -> Columns:
    """Puts outputs of batches after each other.

    Raises:
      SetupError: they differ in more than their rows.
    """
    for name, first in parts[0].items():
        for part in parts[1:]:
            if part[name].shape[1:] != first.shape[1:]:
                raise SetupError(
                    f"expected output {name!r} of one shape for rows of one shape. Received: "
                    f"{list(first.shape[1:])} and {list(part[name].shape[1:])} in different "
                    "batches. Give it a fixed width in the model, so that it does not depend on "
                    "which rows run together."
                )
    return join(parts)
