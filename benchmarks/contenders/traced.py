"""A Keras model as one traced function from named arrays to scores, and what leads there.

For the bare loop and for contenders that bring no way of their own to run a model.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np


class Traced:
    """A model, traced once for any number of rows.

    Attributes:
      inputs: their names.
    """

    def __init__(self, model_path: str) -> None:
        """Loads a Keras file."""
        import keras
        import tensorflow as tf

        model = keras.models.load_model(model_path, compile=False)
        self._fields = {field.name: field for field in model.inputs}
        self.inputs = list(self._fields)
        specs = {
            name: tf.TensorSpec(field.shape, field.dtype) for name, field in self._fields.items()
        }

        @tf.function(input_signature=[specs])
        def call(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            one = len(specs) == 1
            return model(next(iter(inputs.values())) if one else inputs, training=False)

        self._call = call

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores `[n, outputs]` of values by input, whose rows may be flat or lack ones."""
        import tensorflow as tf

        inputs = {
            name: tf.constant(columns[name].reshape(-1, *field.shape[1:]), field.dtype)
            for name, field in self._fields.items()
        }
        scores: np.ndarray = self._call(inputs).numpy()
        return scores


@functools.cache
def load_traced(model_path: str, threads: int | None = None) -> Traced:
    """Loads a model once a process.

    Args:
      model_path: a Keras file.
      threads: of TensorFlow's own, for processes that share the cores; None leaves them alone.
    """
    if threads is not None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    return Traced(model_path)


def table_arrays(table: Any) -> dict[str, np.ndarray]:
    """The columns of an Arrow table or record batch but `id` as arrays `[rows, …]`, flat."""
    import pyarrow as pa

    arrays = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name == "id":
            continue
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if isinstance(whole, pa.ChunkedArray):
            whole = pa.concat_arrays(whole.chunks)
        if pa.types.is_nested(whole.type):
            arrays[name] = whole.flatten().to_numpy().reshape(len(whole), -1)
        else:
            arrays[name] = whole.to_numpy(zero_copy_only=False)
    return arrays


def decode_jpeg(encoded: bytes) -> np.ndarray:
    """A JPEG as RGB pixels."""
    import cv2

    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
