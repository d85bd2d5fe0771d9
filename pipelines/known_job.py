"""Whether a command is that of the job in its folder, told without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipelines.fingerprint import Fingerprint
from pipelines.job_fingerprint import job_fingerprint
from pipelines.options import ScoreOptions
from pipelines.plan import JobPlan
from pipelines.splits import InputFile
from pipelines.user_code import function_digest, look_in_working_folder
from transforms.engine.loading import check_kind
from transforms.engine.model import ModelKind, model_digest, model_kind
from transforms.model_files import fetch_model


def known_fingerprint(
    options: ScoreOptions, planned: JobPlan, input_format: str, files: Sequence[InputFile]
) -> Fingerprint | None:
    """A command's fingerprint where its folder has a plan; no model is read, no code is run.

    Args:
      options: the command.
      planned: the plan.
      input_format: name of the source.
      files: the input.

    Returns:
      What `job_fingerprint` gives for it; where the model is another than planned, its signature
      may be the planned one, and the fingerprint differs anyway. None where only
      reading the model or running the user's code can tell.

    Raises:
      ModelError: there is no model, or not one of a kind that goes with the command.
    """
    preprocess = function_digest(options.preprocess) if options.preprocess else None
    if options.preprocess and preprocess is None:
        return None
    look_in_working_folder()
    spec = options.model.spec()
    local = dataclasses.replace(spec, path=fetch_model(spec.path))
    kind = model_kind(local.path)
    check_kind(local, kind, options.precision)
    digest = model_digest(local)
    signature = _signature(options, planned, kind, digest)
    if signature is None:
        return None
    return job_fingerprint(options, digest, signature, input_format, files, preprocess)


def _signature(
    options: ScoreOptions, planned: JobPlan, kind: ModelKind, digest: str
) -> str | None:
    """Name of the signature that a model has under the command's flags."""
    if kind != "saved_model":
        return "keras"
    if options.model.signature is not None:
        return options.model.signature
    then = planned.fingerprint.parts
    # What an equal model chose then without a wish, it chooses now.
    chosen = planned.arguments.get("signature", "") is None
    return str(then["signature"]) if chosen or digest != then["model_digest"] else None
