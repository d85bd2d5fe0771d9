"""What is frozen costs later collections nothing, and is collected after a thaw."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import python
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
    assert seen() is None


def test_what_has_no_cycle_is_freed_at_once() -> None:
    values = {1, 2, 3}
    node = _Node()
    node.itself = values  # type: ignore[assignment]
    seen = weakref.ref(node)
    freeze()
    del node
    assert seen() is None


def test_a_model_leaves_the_memory_before_the_next_one_is_loaded(tmp_path: Path) -> None:
    program = """
import json, sys
import keras, tensorflow as tf
from transforms.engine.model import ModelSpec
from transforms.engine.opening import PredictorConfig, open_predictor

sizes = []
for turn in range(4):
    path = f"{sys.argv[1]}/{turn % 2}.keras"
    if turn < 2:
        # 32 MiB of weights.
        keras.Sequential([keras.Input((2048,)), keras.layers.Dense(4096)]).save(path)
    open_predictor(PredictorConfig(ModelSpec(path), devices=("CPU:0",))).release()
    sizes.append(tf.config.experimental.get_memory_info("CPU:0")["current"])
print(json.dumps(sizes))
"""
    done = python("-c", program, str(tmp_path))
    sizes = json.loads(done.stdout.splitlines()[-1])
    assert 30 << 20 < sizes[-1] < 60 << 20
