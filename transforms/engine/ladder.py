"""The batch sizes that are run: few, so that kernels are chosen once, and replica-divisible."""

from __future__ import annotations

import functools


@functools.lru_cache(maxsize=256)
def ladder(limit: int, replicas: int) -> tuple[int, ...]:
    """Sizes from one row per replica up to `limit`, by steps of 1.5 and 1.33 in turn.

    Per replica they are 1, 2, 3, 4, 6, 8, 12, 16, …; times `replicas`. A batch padded to the
    next step wastes less than a third of it; powers of two alone would waste up to half.

    Args:
      limit: rows of the largest batch; a limit that no step hits is itself the last step,
        rounded down to a multiple of `replicas`.
      replicas: how many slices a batch is cut into.

    Returns:
      Rows of the global batch, ascending, at least one size.
    """
    most = max(1, limit // replicas)
    steps = {1, most}
    power = 1
    while power <= most:
        steps.add(power)
        if power >= 2 and power * 3 // 2 <= most:
            steps.add(power * 3 // 2)
        power *= 2
    return tuple(step * replicas for step in sorted(steps))


def padded_rows(rows: int, limit: int, replicas: int) -> int:
    """The smallest step of the ladder that holds `rows`, at most the ladder's last."""
    steps = ladder(limit, replicas)
    for step in steps:
        if step >= rows:
            return step
    raise ValueError(f"expected at most {steps[-1]} rows. Received: {rows}.")
