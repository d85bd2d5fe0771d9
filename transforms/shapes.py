"""Which shapes of a stored row fit a model's shape, and what they are reshaped to."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence

Shape = tuple[int, ...]
FreeShape = tuple["int | None", ...]


def fit_shape(received: Shape, expected: FreeShape | None) -> Shape | None:
    """The shape that a row takes in the model, or None where it does not fit.

    A row of the model's rank must have its dimensions. Else stored dimensions may be merged
    or split in order: a flat list fills any shape of its size. One free dimension is
    inferred; several are taken from a row of the same rank. A list of one value does not
    fit a scalar; a scalar fits `[1]`.

    Args:
      received: the row's own dimensions.
      expected: the model's, without its rows; None where any shape is right.
    """
    if expected is None:
        return received
    if not expected or not received:
        return _fit_scalar(received, expected)
    if len(received) == len(expected):
        return received if _matches(received, expected) else None
    if sum(size is None for size in expected) > 1:
        return _fill(received, expected)
    filled = _infer(math.prod(received), expected)
    return filled if filled is not None and _regroups(received, filled) else None


def can_fit(received: FreeShape | None, expected: FreeShape | None) -> bool:
    """Whether some row of a column can fit, where the column's own sizes may be free."""
    if received is None or expected is None:
        return True
    if all(size is not None for size in received):
        return fit_shape(tuple(size or 0 for size in received), expected) is not None
    if not expected:
        return False
    if len(received) == len(expected):
        return _matches(received, expected)
    free = sum(size is None for size in expected)
    if free > 1:
        return _matches(received, [size for size in expected if size != 1])
    if free == 1:
        return True
    total = math.prod(size or 0 for size in expected)
    known = math.prod(size for size in received if size is not None)
    return total == 0 if known == 0 else total % known == 0


def _matches(received: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    return len(received) == len(expected) and all(
        have is None or want is None or have == want
        for have, want in zip(received, expected, strict=True)
    )


def _fit_scalar(received: Shape, expected: FreeShape) -> Shape | None:
    if received:
        return None
    only_ones = all(size in (1, None) for size in expected) and expected.count(None) <= 1
    return (1,) * len(expected) if only_ones else None


def _fill(received: Shape, expected: FreeShape) -> Shape | None:
    """The received sizes with the ones that only the model writes out, such as channels."""
    if not _matches(received, [size for size in expected if size != 1]):
        return None
    sizes = iter(received)
    return tuple(1 if size == 1 else next(sizes) for size in expected)


def _infer(total: int, expected: FreeShape) -> Shape | None:
    known = math.prod(size for size in expected if size is not None)
    if None not in expected:
        return tuple(size or 0 for size in expected) if total == known else None
    if known == 0 or total % known:
        return None
    return tuple(total // known if size is None else size for size in expected)


def _regroups(one: Shape, other: Shape) -> bool:
    """Whether merging neighbouring dimensions of one shape gives the other."""
    cuts = [{1, *itertools.accumulate(shape, operator.mul)} for shape in (one, other)]
    return cuts[0] <= cuts[1] or cuts[1] <= cuts[0]
