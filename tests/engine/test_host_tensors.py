"""Arrays and tensors that share memory are the same values, whoever owns it."""

from __future__ import annotations

import gc

import numpy as np
import pyarrow as pa
import pytest

from transforms.engine.host_tensors import (
    ALIGNMENT_BYTES,
    aligned_empty,
    can_share,
    to_array,
    to_tensor,
)

pytestmark = pytest.mark.usefixtures("logical_cpus")

_DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


def _filled(dtype: str, rows: int = 2048) -> np.ndarray:
    values = aligned_empty((rows, 16), np.dtype(dtype))
    values[:] = np.arange(rows * 16).reshape(rows, 16) % 2
    return values


@pytest.mark.parametrize("dtype", _DTYPES)
def test_aligned_memory_goes_there_and_back_uncopied(dtype: str) -> None:
    values = _filled(dtype)
    tensor = to_tensor(values)
    assert tensor.dtype.name == dtype
    back = to_array(tensor)
    np.testing.assert_array_equal(back, values)
    assert back.ctypes.data == values.ctypes.data


def test_what_is_read_only_is_shared_too() -> None:
    column = pa.array(np.arange(32_768, dtype=np.float32))
    start = -column.buffers()[1].address % ALIGNMENT_BYTES // 4
    values = column.to_numpy()[start:].reshape(-1)
    assert not values.flags.writeable
    tensor = to_tensor(values)
    assert to_array(tensor).ctypes.data == values.ctypes.data
    np.testing.assert_array_equal(tensor.numpy(), values)


def test_shared_memory_lives_as_long_as_the_tensor() -> None:
    values = _filled("float32")
    values.flags.writeable = False
    expected = values.copy()
    tensor = to_tensor(values)
    del values
    gc.collect()
    others = [_filled("float32") + 1 for _ in range(8)]
    np.testing.assert_array_equal(tensor.numpy(), expected)
    assert len(others) == 8


@pytest.mark.parametrize("offset", [4, 16, 32])
def test_memory_that_kernels_cannot_read_is_copied(offset: int) -> None:
    memory = aligned_empty((40_000,), np.dtype("uint8"))
    values = memory[offset : offset + 32_768].view(np.float32)
    values[:] = 1.5
    assert not can_share(values)
    tensor = to_tensor(values)
    values[:] = 0
    assert tensor.numpy().tolist() == [1.5] * 8192


@pytest.mark.parametrize(
    "values",
    [
        _filled("float32")[:, 1:],
        _filled("float32")[::2],
        np.full((4096,), b"text", dtype=object),
        _filled("float32").astype(">f4"),
        np.zeros((3, 4), np.float32),
    ],
    ids=["columns", "steps", "strings", "byte order", "small"],
)
def test_what_cannot_be_shared_is_copied(values: np.ndarray) -> None:
    assert not can_share(values)
    if values.dtype.isnative:
        np.testing.assert_array_equal(to_array(to_tensor(values)), values)


def test_a_caller_can_refuse_to_share() -> None:
    values = _filled("float32")
    tensor = to_tensor(values, share=False)
    values[:] = 7
    assert not np.any(tensor.numpy() == 7)


@pytest.mark.parametrize("name", ["bfloat16", "string", "complex64", "float32"])
def test_every_kind_of_output_is_read(name: str) -> None:
    import tensorflow as tf

    tensor = tf.constant(["a", "b"]) if name == "string" else tf.cast([1.0, 2.0], name)
    np.testing.assert_array_equal(to_array(tensor), tensor.numpy())
    empty = tensor[:0]
    assert to_array(empty).shape == (0,)


def test_a_model_that_stores_its_input_gets_a_copy() -> None:
    import tensorflow as tf

    from transforms.engine.replicas import open_replicas
    from transforms.engine.signature import Signature, TensorField
    from transforms.engine.step import Step

    class Remembering:
        signature = Signature("", (TensorField("x", "float32", (16,)),), None)

        def __init__(self) -> None:
            self.seen = tf.Variable(tf.zeros([0, 16]), shape=[None, 16])

        def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            self.seen.assign(inputs["x"])
            self.seen.assign_add(tf.ones_like(inputs["x"]))
            return {"y": self.seen + 0.0}

    replicas = open_replicas(("CPU:0",))
    with replicas.strategy.scope():
        model = Remembering()
    values = _filled("float32")
    expected = values.copy()
    (outputs,) = Step(model, replicas, model.signature.inputs)([{"x": values}])
    np.testing.assert_array_equal(outputs["y"].numpy(), expected + 1)
    np.testing.assert_array_equal(values, expected)
