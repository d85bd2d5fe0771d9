"""Random damage to files of every format: an outcome, never a crash; `make fuzz` tries more."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.bad_input.cases import Case, writing
from tests.bad_input.mutations import mutated
from tests.bad_input.observing import observed
from tests.bad_input.outcomes import Outcome, Refused, Scored
from tests.bad_input.sound import SUFFIXES

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
IS_LONG = "FUZZ_EXAMPLES" in os.environ

# What reads one of these files takes milliseconds; the deadline is for what takes for ever,
# even on a machine that stands still for a minute.
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=120_000,
    derandomize=not IS_LONG,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("name", SUFFIXES)
@fuzz
@given(choose=st.randoms(use_true_random=False))
def test_damage_costs_its_own_file_alone(name, choose):
    content = mutated(name, choose)
    note(content.hex())
    for alone in (False, True):
        assert isinstance(outcome(name, content, alone), (Scored, Refused))


@pytest.mark.parametrize("name", SUFFIXES)
@fuzz
@given(content=st.binary(max_size=300))
def test_any_bytes_are_an_outcome(name, content):
    assert isinstance(outcome(name, content, alone=False), Scored)


def outcome(name: str, content: bytes, alone: bool) -> Outcome:
    """What becomes of a file; `observed` checks its neighbours."""
    case = Case("", "", writing(content), Scored(()))
    with tempfile.TemporaryDirectory() as folder:
        return observed(name, case, Path(folder), alone=alone)
