"""One predictor per key and process."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.engine.registry import Registry


class Resource:
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    @property
    def is_closed(self) -> bool:
        return self.closed > 0


def test_one_build_for_many_threads() -> None:
    registry = Registry()
    started = threading.Barrier(8)

    def acquire(_: int) -> object:
        started.wait()
        return registry.acquire("key", Resource).predictor

    with ThreadPoolExecutor(8) as pool:
        resources = list(pool.map(acquire, range(8)))
    assert len(set(map(id, resources))) == 1
    assert registry.loads == 1


def test_unused_predictor_stays_for_the_next_user() -> None:
    registry = Registry()
    lease = registry.acquire("key", Resource)
    lease.release()
    assert registry.acquire("key", Resource).predictor is lease.predictor
    assert registry.loads == 1


def test_release_twice_counts_once() -> None:
    registry = Registry()
    first, second = (registry.acquire("key", Resource) for _ in range(2))
    first.release()
    first.release()
    registry.acquire("other", Resource)
    assert second.predictor.closed == 0
    second.release()
    registry.acquire("third", Resource)
    assert second.predictor.closed == 1


def test_another_key_closes_only_unused_predictors() -> None:
    registry = Registry()
    used = registry.acquire("used", Resource)
    unused = registry.acquire("unused", Resource)
    unused.release()
    registry.acquire("new", Resource)
    assert (used.predictor.closed, unused.predictor.closed) == (0, 1)


def test_failed_build_leaves_nothing_behind() -> None:
    registry = Registry()

    def fail() -> Resource:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        registry.acquire("key", fail)
    assert isinstance(registry.acquire("key", Resource).predictor, Resource)
    assert registry.loads == 1


def test_a_closed_predictor_is_built_anew() -> None:
    registry = Registry()
    first = registry.acquire("key", Resource)
    first.predictor.close()
    assert registry.acquire("key", Resource).predictor is not first.predictor
    assert registry.loads == 2


def test_a_closed_predictor_is_let_go_before_the_next_one_is_built() -> None:
    registry = Registry()
    lease = registry.acquire("key", Resource)
    lease.predictor.close()
    closed = weakref.ref(lease.predictor)
    lease.release()
    del lease

    def build() -> Resource:
        assert closed() is None
        return Resource()

    registry.acquire("key", build)
    assert registry.loads == 2
