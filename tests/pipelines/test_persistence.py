from __future__ import annotations

import pytest

from pipelines.persistence import OUTAGE_PAUSES_SECONDS, Persistence


@pytest.mark.parametrize("is_outage", [True, False])
def test_runs_that_get_nowhere_come_to_an_end(is_outage: bool) -> None:
    persistence = Persistence()
    pauses = []
    for _ in range(len(OUTAGE_PAUSES_SECONDS) + 1):
        pauses.append(persistence.pause_seconds(7, is_outage))
    waited = OUTAGE_PAUSES_SECONDS if is_outage else (0.0,) * len(OUTAGE_PAUSES_SECONDS)
    assert pauses == [*waited, None]


def test_runs_that_commit_go_on() -> None:
    persistence = Persistence()
    for committed in range(50):
        assert persistence.pause_seconds(committed, True) == OUTAGE_PAUSES_SECONDS[0]


def test_what_is_withdrawn_and_done_again_is_no_gain() -> None:
    persistence = Persistence()
    found = [persistence.pause_seconds(4, False)]
    for _ in range(len(OUTAGE_PAUSES_SECONDS)):
        found.append(persistence.pause_seconds(3, False))
    assert found == [*(0.0,) * len(OUTAGE_PAUSES_SECONDS), None]
