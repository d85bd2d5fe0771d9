"""A command as plain values: its flags, and what of it makes two jobs the same job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.fingerprint import Fingerprint, fingerprint, input_mark
from pipelines.options import InferenceOptions, ScoreOptions
from pipelines.redaction import redacted_values
from pipelines.splits import InputFile


def job_fingerprint(
    options: ScoreOptions,
    model_digest: str,
    signature: str,
    input_format: str,
    files: Sequence[InputFile],
    preprocess_digest: str | None,
) -> Fingerprint:
    """The fingerprint of a command.

    Args:
      options: the command.
      model_digest: of the model's files.
      signature: name of the one that is used.
      input_format: name of the source.
      files: the input.
      preprocess_digest: of the function of `--preprocess`, if there is one.
    """
    return fingerprint(
        {
            "inputs": input_mark(files),
            "input_format": input_format,
            "format_flags": _plain(vars(options.format_flags)),
            "model_digest": model_digest,
            "signature": signature,
            "builder": options.model.builder,
            "custom_objects": dict(options.model.custom_objects),
            "precision": options.precision,
            "input_map": dict(options.input_map),
            "image_size": _plain(options.image_size),
            "preprocess": preprocess_digest,
            "keep": _plain(options.keep),
            "output_format": options.output_format,
            "provenance": options.provenance,
        }
    )


def plain_arguments(options: InferenceOptions) -> dict[str, Any]:
    """The command's flags by name as JSON can hold them, without credentials."""
    return {name: redacted_values(value) for name, value in options.as_arguments().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
