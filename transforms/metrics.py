"""Counters that Beam's runners show; for watching a job, never for its accounts.

Runners count again what they retry, and lose what is counted in setup or in threads.
"""

from __future__ import annotations

from apache_beam.metrics import Metrics

NAMESPACE = "mirrorbeam"


def add_to_counter(name: str, amount: int) -> None:
    """Adds to a counter; only in a DoFn's process or finish_bundle."""
    if amount:
        Metrics.counter(NAMESPACE, name).inc(amount)
