"""Builds a model and prints its signature: `python -m transforms.engine.signature_process`.

Reads a pickled `(ModelSpec, precision)` from its standard input and writes one JSON object
to its standard output: a signature, or ``{"error": message}``.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import Any

from transforms.engine.model import ModelError, model_kind


def main() -> None:
    """Answers on the standard output, and keeps everybody else off it."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        json.dump(_answer(sys.stdin.buffer.read()), out)


def _answer(question: bytes) -> dict[str, Any]:
    from transforms.engine.keras_loading import build_keras_model

    spec, precision = pickle.loads(question)
    try:
        return build_keras_model(
            spec, model_kind(spec.path), precision=precision
        ).signature.to_json()
    except ModelError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    main()
