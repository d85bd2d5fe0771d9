"""A user's preprocessing inside the step: what it is given, and how its results fit the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transforms.engine.errors import SetupError
from transforms.engine.signature import TensorField

if TYPE_CHECKING:
    import tensorflow as tf

Preprocess = Callable[..., Any]


def with_autograph(preprocess: Preprocess) -> Preprocess:
    """The function for a trace in which it alone may hold Python conditions on tensors."""
    import tensorflow as tf

    return tf.function(preprocess)


def preprocessed(
    preprocess: Preprocess,
    columns: Mapping[str, tf.Tensor],
    fields: Sequence[TensorField],
    inputs: Sequence[TensorField],
) -> dict[str, tf.Tensor]:
    """The model's inputs, as a function makes them of columns while it is traced.

    Args:
      preprocess: of `with_autograph`.
      columns: tensors by name.
      fields: what the columns are.
      inputs: what the model takes.

    Raises:
      SetupError: the function failed, or what it returned does not fit.
    """
    try:
        result = preprocess(**columns)
    except Exception as error:
        described = ", ".join(f"{field.name}: {field}" for field in fields)
        raise SetupError(
            f"expected preprocess to take {described}. Received from it: "
            f"{type(error).__name__}: {_last_line(error)}"
        ) from error
    names = [field.name for field in inputs]
    if not isinstance(result, Mapping):
        if len(names) != 1:
            raise SetupError(
                f"expected preprocess to return a dict of the model's inputs {names}. "
                f"Received: {type(result).__name__}."
            )
        result = {names[0]: result}
    if set(result) != set(names):
        raise SetupError(
            f"expected preprocess to return the model's inputs {names}. "
            f"Received: {sorted(result)}."
        )
    return {field.name: _as_input(result[field.name], field) for field in inputs}


def _last_line(error: Exception) -> str:
    """What went wrong; AutoGraph puts the stack of the user's code before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "without a message"


def _as_input(value: Any, field: TensorField) -> Any:
    """What the preprocessing returned, in the dtype that the model takes.

    Keras casts whatever it gets; a SavedModel's graph fails on it, row by row.

    Raises:
      SetupError: it is known by now that it does not fit, or has not as many rows.
    """
    import tensorflow as tf

    if not tf.is_tensor(value):
        return value
    shape = value.shape
    if shape.rank == 0 or (shape.rank is not None and shape[0] is not None):
        raise SetupError(
            f"expected preprocess to return {field.name!r} with one entry for each row. Received: "
            f"shape {shape.as_list()} however many rows there are. Keep the first dimension."
        )
    # Of another rank: Keras adds or drops a last dimension of one.
    expected = tf.TensorShape(field.shape)
    if shape[1:].rank == expected.rank and not shape[1:].is_compatible_with(expected):
        raise SetupError(
            f"expected preprocess to return {field.name!r} as {field}. Received: "
            f"{TensorField(field.name, value.dtype.name, tuple(shape.as_list()[1:]))}. "
            "Return what the model takes."
        )
    if value.dtype.name == field.dtype:
        return value
    target = tf.as_dtype(field.dtype)
    if tf.string in (value.dtype, target) or (value.dtype.is_floating and not target.is_floating):
        cure = "tf.strings.to_number" if value.dtype == tf.string else "tf.cast"
        raise SetupError(
            f"expected preprocess to return {field.name!r} as {field}. Received: "
            f"{value.dtype.name}. Convert it there, as with {cure}."
        )
    return tf.cast(value, target)
