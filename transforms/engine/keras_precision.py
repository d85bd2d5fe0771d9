"""Another precision for a Keras model, written into its configuration."""

from __future__ import annotations

import copy

from transforms.engine.keras_config import Config, objects, policy_name
from transforms.engine.model import PRECISIONS, ModelError

_FLOAT_POLICIES = ("float16", "bfloat16", "float64", *PRECISIONS)


def with_precision(config: Config, precision: str, keras_2: bool = False) -> Config:
    """A configuration in which every layer that computes in floats has another dtype policy.

    What a model takes keeps its dtype. In a model that mixes precisions already, layers
    that were set to plain float32 stay so, unless everything becomes float32.

    Args:
      config: a model's configuration.
      precision: one of `PRECISIONS`.
      keras_2: write the policies so that Keras 2 reads them.

    Raises:
      ModelError: another precision.
    """
    check_precision(precision)
    config = copy.deepcopy(config)
    layers = [
        found["config"]
        for found in objects(config)
        # An operation such as Cast has a dtype as well: that one is part of what it does.
        if isinstance(found.get("config"), dict) and "trainable" in found["config"]
    ]
    policies = [policy_name(layer.get("dtype")) for layer in layers]
    mixes = precision != "float32" and any(name.startswith("mixed_") for name in policies)
    for layer, name in zip(layers, policies, strict=True):
        if name in _FLOAT_POLICIES and (name.startswith("mixed_") or not mixes):
            serialized = {"class_name": "Policy", "config": {"name": precision}}
            layer["dtype"] = serialized if keras_2 else precision
    return config


def check_precision(precision: str) -> None:
    """Raises ModelError for anything but one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ModelError(
            f"expected precision to be one of {', '.join(PRECISIONS)}. Received: {precision!r}. "
            "Pass one of them, or none to keep the model's own."
        )
