"""Logical CPUs that are used as GPUs are: a batch is launched before the last one is read."""

from __future__ import annotations

from transforms.engine.replicas import Replicas, open_replicas


class RunsAhead(Replicas):
    """Replicas whose outputs are read in a thread of their own."""

    runs_ahead = True


def open_ahead(count: int) -> Replicas:
    """Opens the first logical CPUs."""
    opened = open_replicas([f"CPU:{index}" for index in range(count)])
    return RunsAhead(opened.strategy, opened.devices, opened.kind)
