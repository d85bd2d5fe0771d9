"""Memory of arrays that come and go stays with the process."""

from __future__ import annotations

import os
import platform

import pytest

from tests.processes import python

_FAULTS = """
import resource
import numpy as np
from transforms.engine.host_allocator import keep_freed_memory

if {keep}:
    assert keep_freed_memory()
for number in range(30):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    several = [np.full(1 << 18, number, np.float64) for _ in range(24)]
    del several
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(keep: bool) -> int:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))
    }
    done = python("-c", _FAULTS.format(keep=keep), env=environment)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_pages_are_taken_once() -> None:
    assert _page_faults(True) * 10 < _page_faults(False)


def test_a_users_own_setting_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from transforms.engine.host_allocator import keep_freed_memory

    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory.__wrapped__()
