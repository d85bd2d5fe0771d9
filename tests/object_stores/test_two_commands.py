"""Two commands of one job in one bucket: each row once, whatever becomes of the first."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.object_stores.emulators import STORES
from tests.object_stores.two_commands import play

pytestmark = [pytest.mark.usefixtures("logical_cpus"), pytest.mark.slow]


# One round a store, since two commands start TensorFlow: moments and endings are others each
# time that the tests run, and the seed is told.
@pytest.mark.parametrize("scheme", STORES)
def test_two_commands_in_a_bucket(tmp_path: Path, scheme: str) -> None:
    seed = random.randrange(10**6)
    is_killed = seed % 2 == 1
    with STORES[scheme]() as store:
        played = play(store, tmp_path, random.Random(seed), is_killed)
    assert (played.rows_lost, played.rows_doubled) == (0, 0), f"seed {seed}: {played}"
    assert played.codes[1] == 0, f"seed {seed}: {played}"
    # Where the first was done before, it was not killed.
    allowed = {0, -signal.SIGKILL} if is_killed else {0}
    assert played.codes[0] in allowed, f"seed {seed}: {played}"
    assert "Traceback" not in played.said, f"seed {seed}: {played}"
