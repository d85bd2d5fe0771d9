"""The least that scores some rows with the same packages: `plain_script.py MODEL ROWS SCORES`."""

from __future__ import annotations

import sys

import apache_beam  # noqa: F401  for the time that importing it takes
import keras
import numpy as np
import tensorflow as tf

if __name__ == "__main__":
    model_path, rows_path, scores_path = sys.argv[1:]
    model = keras.models.load_model(model_path, compile=False)
    step = tf.function(lambda rows: model(rows, training=False))
    np.save(scores_path, step(tf.constant(np.load(rows_path))).numpy())
