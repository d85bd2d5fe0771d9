"""Whether the arguments of an inference fit its model."""

from __future__ import annotations

from collections.abc import Mapping

from transforms.engine.model import ModelSpec, model_kind
from transforms.engine.signature import Signature, TensorField
from transforms.matching import check_field
from transforms.outputs import output_schema


def check_columns(
    signature: Signature,
    parameters: tuple[str, ...] | None,
    spec: Mapping[str, TensorField],
    input_map: Mapping[str, str],
) -> None:
    """Refuses columns that are not the model's or do not fit it.

    Args:
      signature: the model's.
      parameters: the preprocessing function's column names; None without one.
      spec: fields by column, where the user gave them.
      input_map: column by model input.

    Raises:
      ValueError: says what was expected, what was received and what to do.
    """
    if parameters is not None and input_map:
        raise ValueError(
            f"expected preprocess or input_map. Received: both, {', '.join(input_map)} being "
            "mapped. Name the parameters of preprocess after the columns they take."
        )
    inputs = [field.name for field in signature.inputs]
    unknown = [name for name in input_map if name not in inputs]
    if unknown:
        raise ValueError(
            f"expected input_map for the model's inputs {', '.join(inputs)}. "
            f"Received: {', '.join(unknown)}. It maps inputs to columns."
        )
    columns = parameters or [input_map.get(name, name) for name in inputs]
    unknown = [name for name in spec if name not in columns]
    if unknown:
        raise ValueError(
            f"expected input_spec for the columns {', '.join(columns)}. "
            f"Received: {', '.join(unknown)}."
        )
    if parameters is None:
        for field in signature.inputs:
            stored = spec.get(input_map.get(field.name, field.name))
            if stored is not None:
                check_field(stored, field)


def check_outputs(signature: Signature) -> None:
    """Refuses what no column can hold, where the file says what the model gives.

    Raises:
      ValueError: the model gives nothing, or an output that is no column.
    """
    if signature.outputs is None:
        return
    if not signature.outputs:
        raise ValueError(
            "expected a model with outputs. Received: a signature that gives nothing. "
            "Pass the signature of another function."
        )
    output_schema(signature.outputs)


def check_precision(spec: ModelSpec, precision: str | None) -> None:
    """Refuses another precision for a model that has its own.

    Raises:
      ValueError: the file is a SavedModel.
    """
    if precision is not None and model_kind(spec.path) == "saved_model":
        raise ValueError(
            f"expected a Keras file with precision={precision!r}. Received: a SavedModel, whose "
            "precision is part of its graph. Leave precision out, or save the model as .keras."
        )
