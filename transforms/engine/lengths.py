"""Texts of very different length run apart: a model may pad each batch to its longest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transforms.engine.slicing import Columns

# Up to here the padding of a batch costs less than another batch would.
SHORT_BYTES = 1024
# From one class to the next; a batch is padded at most so many times over.
_RATIO = 4


class LengthGroup(NamedTuple):
    """Rows whose strings are of about one length.

    Attributes:
      rows: their positions, ascending; None where they are all rows.
      columns: their values.
      length_class: 0 for strings of up to a kibibyte, and one more for each factor of four.
    """

    rows: np.ndarray | None
    columns: Columns
    length_class: int


def split_by_length(columns: Columns) -> list[LengthGroup]:
    """Parts the rows by the total length of their strings; rows of numbers stay together."""
    texts = [values for values in columns.values() if values.dtype == object and values.ndim == 1]
    if not texts or not len(texts[0]):
        return [LengthGroup(None, columns, 0)]
    lengths = sum(np.fromiter(map(len, values), np.int64, len(values)) for values in texts)
    classes = length_classes(np.asarray(lengths))
    first = int(classes[0])
    if (classes == first).all():
        return [LengthGroup(None, columns, first)]
    groups = []
    for length_class in np.unique(classes):
        rows = np.flatnonzero(classes == length_class)
        picked = {name: values[rows] for name, values in columns.items()}
        groups.append(LengthGroup(rows, picked, int(length_class)))
    return groups


def length_classes(lengths: np.ndarray) -> np.ndarray:
    """The class of each length in bytes."""
    edges = SHORT_BYTES * _RATIO ** np.arange(24, dtype=np.float64)
    return np.searchsorted(edges, lengths, side="left")
