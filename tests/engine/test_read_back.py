"""Outputs that are read while the next batch is on its way."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.engine.ahead import open_ahead
from transforms.engine.group_queue import GroupQueue
from transforms.engine.groups import Group
from transforms.engine.predictor import Predictor
from transforms.engine.read_back import ReadBack
from transforms.engine.signature import Signature, TensorField

pytestmark = pytest.mark.usefixtures("logical_cpus")

X = TensorField("x", "float32", (4,))


def group_of(rows: int) -> Group:
    return Group({"x": np.zeros((rows, 4), np.float32)}, Future())


def test_outputs_of_every_kind_come_from_their_devices() -> None:
    given: list[dict[str, Any]] = []
    for device in ("CPU:1", "CPU:2"):
        with tf.device(device):
            given.append(
                {
                    "float": tf.range(6.0),
                    "int": tf.range(3),
                    "text": tf.strings.as_string(tf.range(2)),
                    "half": tf.cast(tf.range(2), tf.bfloat16),
                    "none": tf.zeros([0, 7]),
                }
            )
    reader = ReadBack()
    read = reader.start(given).result()
    reader.close()
    assert [list(replica) for replica in read.tensors] == [list(given[0])] * 2
    for replica, wanted in zip(read.tensors, given, strict=True):
        for name, tensor in replica.items():
            assert tensor.device.endswith("CPU:0")
            np.testing.assert_array_equal(tensor.numpy(), wanted[name].numpy())


def test_while_a_batch_runs_the_next_one_gathers() -> None:
    queue = GroupQueue(1 << 20, None)
    running: Future[None] = Future()
    running.add_done_callback(lambda _: queue.wake())
    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(queue.take, lambda group: 12, running)
        for _ in range(2):
            queue.put(group_of(4))
        assert not taking.done()
        queue.put(group_of(5))
        assert sum(share.rows for share in taking.result(300)) == 12
        # One row is left: it goes when the devices are idle, and no earlier.
        taking = threads.submit(queue.take, lambda group: 12, running)
        assert not taking.done()
        running.set_result(None)
        assert sum(share.rows for share in taking.result(300)) == 1


def test_rows_that_are_held_back_stay_where_the_devices_are_idle() -> None:
    queue = GroupQueue(1 << 20, 3600.0)
    running: Future[None] = Future()
    running.set_result(None)
    queue.put(group_of(4))
    assert queue.take(lambda group: 12, running) == []
    queue.close()
    assert sum(share.rows for share in queue.take(lambda group: 12, running)) == 4


def test_nothing_waits_for_room_that_only_the_running_batch_can_give() -> None:
    queue = GroupQueue(group_of(8).bytes, None)
    with ThreadPoolExecutor(1) as threads:
        queue.put(group_of(4))
        waiting = threads.submit(queue.put, group_of(8))
        assert sum(share.rows for share in queue.take(lambda group: 12, Future())) == 4
        assert waiting.result(300)


def threads_that_read_back() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if "read-back" in each.name}


@pytest.mark.parametrize("dispatch", ["mirrored", "independent"])
def test_the_next_batch_is_launched_before_the_last_one_is_read(dispatch: str) -> None:
    second, go_on = threading.Event(), threading.Event()

    def look(x: np.ndarray) -> np.ndarray:
        if (x == 2).any():
            second.set()
            assert go_on.wait(300)
        return x

    class Model:
        signature = Signature("test", (X,))

        def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {
                "x": tf.ensure_shape(tf.numpy_function(look, [inputs["x"]], tf.float32), [None, 4])
            }

    before = threads_that_read_back()
    predictor = Predictor(Model(), open_ahead(1), rows=4, dispatch=dispatch)  # type: ignore[arg-type]
    futures = [predictor.submit({"x": np.full((4, 4), number, np.float32)}) for number in (1, 2, 3)]
    assert second.wait(300)
    # The dispatcher sits in the second launch.
    assert not futures[0].done()
    go_on.set()
    for number, future in zip((1, 2, 3), futures, strict=True):
        assert (future.result(300).outputs["x"] == number).all()
    predictor.close()
    assert threads_that_read_back() == before
