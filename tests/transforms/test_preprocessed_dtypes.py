"""What a preprocessing function returns, in the dtype that a SavedModel takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.transforms.test_inference import run
from transforms import MirroredInference

pytestmark = pytest.mark.usefixtures("logical_cpus")


def saved(folder: Path, dtype: tf.DType) -> str:
    class Echo(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], dtype, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": x}

    module = Echo()
    tf.saved_model.save(module, str(folder / "m"), signatures=module.serve)
    return str(folder / "m")


@pytest.mark.parametrize(
    ("returned", "taken"),
    [
        (tf.float64, tf.float32),
        (tf.int64, tf.float32),
        (tf.uint8, tf.float32),
        (tf.bool, tf.float32),
        (tf.int64, tf.int32),
        (tf.int32, tf.int64),
        (tf.float32, tf.float32),
    ],
    ids=lambda dtype: dtype.name,
)
def test_numbers_are_cast(tmp_path: Path, returned: tf.DType, taken: tf.DType) -> None:
    transform = MirroredInference(
        saved(tmp_path, taken),
        devices=("CPU:0", "CPU:1"),
        preprocess=lambda x: tf.cast(x, returned),
    )
    predictions, failures = run([{"x": 1.0}, {"x": 0.0}, {"x": 1.0}], transform)
    assert not failures
    assert [row["y"] for row in predictions] == [1, 0, 1]
    assert predictions[0]["y"].dtype == taken.as_numpy_dtype


@pytest.mark.parametrize(
    ("function", "taken", "message"),
    [
        (lambda x: x / 2, tf.int32, r"'x' as int32\[\?\]. Received: float64.*tf\.cast"),
        (tf.strings.as_string, tf.float32, r"Received: string.*tf\.strings\.to_number"),
        (lambda x: x, tf.string, r"'x' as string\[\?\]. Received: float64"),
    ],
    ids=["fractions", "strings", "numbers"],
)
def test_what_would_lose_its_meaning_is_refused(
    tmp_path: Path, function: Any, taken: tf.DType, message: str
) -> None:
    def preprocess(x: tf.Tensor) -> tf.Tensor:
        return function(x)

    transform = MirroredInference(saved(tmp_path, taken), devices=("CPU:0",), preprocess=preprocess)
    with pytest.raises(Exception, match=message):
        run([{"x": 1.0}], transform)
