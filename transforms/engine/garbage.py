"""Spares Python's garbage collector the objects that stay for the whole job."""

from __future__ import annotations

import gc


def thaw() -> None:
    """Lets later collections free what earlier predictors left."""
    gc.unfreeze()


def freeze() -> None:
    """Leaves all objects that exist out of later collections, until `thaw`.

    TensorFlow, Keras, Beam and a model are half a million objects. Going over them takes 0.2
    seconds, with Python's lock held, and happens several times a job. What is frozen is still
    freed when its last reference goes; only cycles wait.
    """
    gc.freeze()
