"""What is frozen costs later collections nothing, and is collected after a thaw."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from transforms.engine.garbage import freeze, thaw


class _Node:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _leave_nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_frozen_objects_are_not_gone_over() -> None:
    gc.collect()
    before = len(gc.get_objects())
    freeze()
    assert before > 10_000
    assert len(gc.get_objects()) < before / 10


def test_a_cycle_that_was_frozen_is_collected_after_a_thaw() -> None:
    node = _Node()
    seen = weakref.ref(node)
    freeze()
    del node
    gc.collect()
    assert seen() is not None
    thaw()
    gc.collect()
    assert seen() is None


def test_what_has_no_cycle_is_freed_at_once() -> None:
    values = {1, 2, 3}
    node = _Node()
    node.itself = values  # type: ignore[assignment]
    seen = weakref.ref(node)
    freeze()
    del node
    assert seen() is None
