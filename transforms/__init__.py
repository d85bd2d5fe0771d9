"""Apache Beam transforms that score whole datasets with TensorFlow models on every local GPU.

Names are resolved when they are used: importing this package starts neither TensorFlow nor Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transforms.batching import Batching as Batching
    from transforms.engine.model import ModelError as ModelError
    from transforms.engine.model import ModelSpec as ModelSpec
    from transforms.inference import InferenceResult as InferenceResult
    from transforms.inference import MirroredInference as MirroredInference
    from transforms.inference_dofn import MirroredInferenceDoFn as MirroredInferenceDoFn
    from transforms.optimal_batch import (
        determine_optimal_batch_size as determine_optimal_batch_size,
    )

_HOMES = {
    "Batching": "transforms.batching",
    "InferenceResult": "transforms.inference",
    "MirroredInference": "transforms.inference",
    "MirroredInferenceDoFn": "transforms.inference_dofn",
    "ModelError": "transforms.engine.model",
    "ModelSpec": "transforms.engine.model",
    "determine_optimal_batch_size": "transforms.optimal_batch",
}

__all__ = [
    "Batching",
    "InferenceResult",
    "MirroredInference",
    "MirroredInferenceDoFn",
    "ModelError",
    "ModelSpec",
    "determine_optimal_batch_size",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
