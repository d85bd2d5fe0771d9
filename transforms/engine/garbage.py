"""Spares Python's garbage collector the objects that stay for the whole job."""

from __future__ import annotations

import gc


def thaw() -> None:
    """Frees what earlier predictors left, and lets later collections do so.

    A model and its traces refer to each other: without a collection a closed predictor's
    variables would stay in the devices' memory while the next one is loaded and measured.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()


def freeze() -> None:
    """Leaves all objects that exist out of later collections, until `thaw`.

    TensorFlow, Keras, Beam and a model are half a million objects. Going over them takes 0.2
    seconds, with Python's lock held, and happens several times a job. What is frozen is still
    freed when its last reference goes; only cycles wait.
    """
    gc.freeze()
