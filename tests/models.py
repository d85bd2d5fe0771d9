"""Small models of every kind, each with what it gives when called without this project.

Every factory takes a folder, saves one model there and returns its `ModelSpec` and a
`Reference`: a function of arrays by input name that gives arrays by output name, and
draws rows for it. TensorFlow must have its logical devices before one is called.
"""

from __future__ import annotations

from tests.keras_2_models import keras_2_h5, keras_2_ops_h5, keras_2_saved_model
from tests.keras_models import (
    build_mlp,
    custom_layer_keras,
    listed_keras,
    mlp_h5,
    mlp_keras,
    mlp_weights,
    multi_keras,
    sequence_keras,
    subclassed_keras,
)
from tests.references import VOCABULARY, Arrays, Reference
from tests.saved_models import (
    examples_saved_model,
    mlp_export,
    pinned_saved_model,
    serialized_example,
    signatures_saved_model,
    strings_saved_model,
    tf1_saved_model,
    unsigned_saved_model,
)

__all__ = [
    "VOCABULARY",
    "Arrays",
    "Reference",
    "build_mlp",
    "custom_layer_keras",
    "examples_saved_model",
    "keras_2_h5",
    "keras_2_ops_h5",
    "keras_2_saved_model",
    "listed_keras",
    "mlp_export",
    "mlp_h5",
    "mlp_keras",
    "mlp_weights",
    "multi_keras",
    "pinned_saved_model",
    "sequence_keras",
    "serialized_example",
    "signatures_saved_model",
    "strings_saved_model",
    "subclassed_keras",
    "tf1_saved_model",
    "unsigned_saved_model",
]
