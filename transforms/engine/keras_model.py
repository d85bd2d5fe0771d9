"""A built Keras model, of Keras 3 or of tf_keras, called by names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.engine.keras_inputs import PlacedField, built_inputs, unsupported_input
from transforms.engine.model import ModelError
from transforms.engine.signature import Signature, TensorField
from transforms.engine.structures import Place, column_names, filled, leaves


class KerasModel:
    """A Keras model that takes and gives dicts of tensors, whatever its own structure is.

    Attributes:
      model: the Keras model.
      signature: its inputs and outputs, named.
      library: which Keras made it, with its version.
    """

    def __init__(
        self, model: Any, library: str, path: str, inputs: Sequence[PlacedField] | None = None
    ):
        """Finds out what the model takes and gives.

        Args:
          model: a Keras model, built.
          library: which Keras made it.
          path: where it came from, for messages.
          inputs: what its file says that it takes, if it does.

        Raises:
          ModelError: nobody can tell what the model takes, or it is nothing that can be fed.
        """
        self.model = model
        self.library = library
        self._path = path
        call_parameters = inspect.signature(model.call).parameters.values()
        self._call_keywords = {}
        if any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in call_parameters):
            self._call_keywords["training"] = False
        self._by_keyword = False
        if getattr(model, "inputs", None):
            self._structure = _structure(model, "input")
            fields = self._graph_inputs(inputs)
            outputs = self._graph_outputs()
        else:
            fields = self._built_inputs(inputs)
            outputs = self._traced_outputs(fields)
        self._input_names = tuple(field.name for field in fields)
        self._output_places = tuple(place for place, _ in outputs)
        self.signature = Signature("keras", fields, tuple(field for _, field in outputs))

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the model as in inference: dropout off, statistics frozen."""
        given = filled(self._structure, iter([inputs[name] for name in self._input_names]))
        found = leaves(self._run(given))
        values = [value for _, value in found]
        if len(found) > 1 and {place for place, _ in found} == set(self._output_places):
            values = [dict(found)[place] for place in self._output_places]
        names = [field.name for field in self.signature.outputs or ()]
        return dict(zip(names, values, strict=True))

    def _run(self, given: Any) -> Any:
        if self._by_keyword:
            return self.model(**given, **self._call_keywords)
        return self.model(given, **self._call_keywords)

    def _graph_inputs(self, known: Sequence[PlacedField] | None) -> tuple[TensorField, ...]:
        """The inputs in the order of the model's structure, named as its file names them."""
        placed = leaves(self._structure)
        for _, tensor in placed:
            for kind in ("sparse", "ragged"):
                if getattr(tensor, kind, False):
                    raise unsupported_input(self._path, tensor.name, kind)
        if known is not None and len(known) == len(placed):
            by_place = dict(known)
            if all(place in by_place for place, _ in placed):
                return tuple(by_place[place] for place, _ in placed)
            return tuple(field for _, field in known)
        # The layer's name, since an unnamed Input calls its tensor by a number of its own.
        return tuple(
            _field(tensor._keras_history[0].name, tensor, self._path) for _, tensor in placed
        )

    def _graph_outputs(self) -> list[tuple[Place, TensorField]]:
        placed = leaves(_structure(self.model, "output"))
        names = _names_of(self.model.outputs, getattr(self.model, "output_names", None))
        last = self.model.layers[-1].name
        columns = column_names(
            [place for place, _ in placed], [names.get(id(tensor), last) for _, tensor in placed]
        )
        return [
            (place, _field(name, tensor, self._path))
            for name, (place, tensor) in zip(columns, placed, strict=True)
        ]

    def _built_inputs(self, known: Sequence[PlacedField] | None) -> tuple[TensorField, ...]:
        """The inputs of a subclassed model, by the shapes that it was built with."""
        build = self.model.get_build_config() if self.model.built else None
        known = known or built_inputs(build or {})
        if not known:
            raise ModelError(
                "expected a model that knows what it takes. "
                f"Received: {self._path!r}, a {type(self.model).__name__} that was never called. "
                "Call it once on some rows before it is saved (or in the builder), or save it "
                "with model.export('folder')."
            )
        self._by_keyword = "shapes_dict" in (build or {})
        self._structure = _nested(known)
        return tuple(field for _, field in known)

    def _traced_outputs(self, fields: Sequence[TensorField]) -> list[tuple[Place, TensorField]]:
        """The outputs of a subclassed model, by tracing it."""
        import tensorflow as tf

        specs = [
            tf.TensorSpec(None if field.shape is None else (None, *field.shape), field.dtype)
            for field in fields
        ]
        traced = tf.function(
            lambda *tensors: self._run(filled(self._structure, iter(tensors))), autograph=False
        ).get_concrete_function(*specs)
        placed = leaves(traced.structured_outputs)
        columns = column_names(
            [place for place, _ in placed], [f"output_{at}" for at in range(len(placed))]
        )
        return [
            (place, _field(name, tensor, self._path))
            for name, (place, tensor) in zip(columns, placed, strict=True)
        ]


def _structure(model: Any, side: str) -> Any:
    """How a graph model takes its inputs or gives its outputs: a tensor or a nest of them."""
    tensors = getattr(model, f"{side}s")
    if any(base.__name__ == "Sequential" for base in type(model).__mro__):
        return tensors[0] if len(tensors) == 1 else list(tensors)
    return getattr(model, side)


def _names_of(tensors: Sequence[Any], names: Sequence[str] | None) -> dict[int, str]:
    if not names or len(names) != len(tensors):
        return {}
    return {id(tensor): name for tensor, name in zip(tensors, names, strict=True)}


def _nested(placed: Sequence[PlacedField]) -> Any:
    """The structure whose leaves lie at these places."""
    if len(placed) == 1 and not placed[0][0]:
        return placed[0][1]
    keys = list(dict.fromkeys(place[0] for place, _ in placed))
    parts = [
        _nested([(place[1:], field) for place, field in placed if place[0] == key]) for key in keys
    ]
    if all(isinstance(key, int) for key in keys):
        return parts
    return dict(zip(keys, parts, strict=True))


def _field(name: str, tensor: Any, path: str) -> TensorField:
    """What a symbolic tensor is, without its rows."""
    if getattr(tensor, "sparse", False) or not hasattr(tensor, "shape"):
        raise ModelError(
            f"expected a model whose outputs are dense tensors. Received: {path!r}, whose output "
            f"{name!r} is {type(tensor).__name__}. Wrap the model in one that makes it dense."
        )
    dtype = getattr(tensor.dtype, "name", tensor.dtype)
    if tensor.shape is None or getattr(tensor.shape, "rank", 0) is None:
        return TensorField(name, str(dtype), None)
    return TensorField(name, str(dtype), tuple(tensor.shape)[1:])
