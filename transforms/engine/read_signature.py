"""A model's signature, without building the model or starting a device in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from transforms.engine.keras_errors import code_error
from transforms.engine.keras_file import code_layers, read_keras_file
from transforms.engine.keras_inputs import config_inputs
from transforms.engine.keras_precision import check_precision
from transforms.engine.loading import check_kind
from transforms.engine.model import ModelError, ModelSpec, model_kind
from transforms.engine.saved_model import endpoint, read_saved_model
from transforms.engine.signature import Signature

_CHILD = "transforms.engine.signature_process"


def read_signature(
    spec: ModelSpec, *, complete: bool = False, precision: str | None = None
) -> Signature:
    """What a model takes and gives.

    A SavedModel says all of it, the configuration of most Keras files what goes in. For the
    rest the model is built in a process of its own without GPUs, which takes seconds.

    Args:
      spec: which model.
      complete: want the outputs too, whatever it takes; else they are None where the file
        does not say them.
      precision: dtype policy that the model will be loaded with; it shows in the outputs.

    Raises:
      ModelError: it is no model, or one that cannot be loaded like this.
    """
    kind = model_kind(spec.path)
    check_kind(spec, kind, precision)
    if precision is not None:
        check_precision(precision)
    if kind == "saved_model":
        return endpoint(read_saved_model(spec.path), spec.signature).signature
    if spec.builder is None and kind != "weights":
        file = read_keras_file(spec.path, kind)
        layers = code_layers(file.config)
        if layers and not spec.trust:
            raise code_error(spec.path, layers)
        inputs = config_inputs(file)
        if inputs is not None and not complete:
            return Signature("keras", tuple(field for _, field in inputs))
    return _in_a_process(spec, precision)


def _in_a_process(spec: ModelSpec, precision: str | None) -> Signature:
    import cloudpickle  # type: ignore[import-untyped]

    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # The builder and the custom objects are importable there as they are here.
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", _CHILD],
        input=cloudpickle.dumps((spec, precision)),
        capture_output=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ModelError(
            f"expected {spec.path!r} to build in a process of its own, which tells what it takes. "
            f"Received: exit status {done.returncode}, {lines[-1]}. Build it by itself to see why."
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise ModelError(answer["error"])
    return Signature.from_json(answer)
