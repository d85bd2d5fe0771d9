"""How long a command goes on by itself with a job that did not come to its end."""

from __future__ import annotations

# Before each further run after storage has failed: it is away for a minute or two, or for long.
OUTAGE_PAUSES_SECONDS = (5.0, 20.0, 60.0)


class Persistence:
    """Counts runs that found no more splits committed than the one before them."""

    def __init__(self) -> None:
        self._most = -1
        self._barren_runs = 0

    def pause_seconds(self, committed: int, is_outage: bool) -> float | None:
        """How long to wait after a run before the next one; None where there should be none.

        Args:
          committed: splits that are committed after the run.
          is_outage: storage failed, and may need time; else the next run is at once.
        """
        if committed > self._most:
            self._most, self._barren_runs = committed, 0
        self._barren_runs += 1
        if self._barren_runs > len(OUTAGE_PAUSES_SECONDS):
            return None
        return OUTAGE_PAUSES_SECONDS[self._barren_runs - 1] if is_outage else 0.0
