"""The functions of a SavedModel that are no signatures, such as its `__call__`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from transforms.engine.signature import TensorField
from transforms.engine.structures import column_names, filled, leaves

Sizes = tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class _Spec:
    """A tensor in a saved structure."""

    name: str
    dtype: str
    sizes: Sizes


class SavedFunction:
    """One traced form of a function, in inference where there is a choice.

    Attributes:
      name: the attribute of the model that it is.
      inputs: the tensors that it takes, by name.
      input_shapes: their whole shapes, rows included; None where the rank is free.
      outputs: the tensors that it gives.
    """

    def __init__(self, name: str, arguments: Any, results: Any):
        self.name = name
        self._arguments = arguments
        self._specs = [
            (place[2:], leaf) for place, leaf in leaves(arguments) if isinstance(leaf, _Spec)
        ]
        names = column_names(
            [place for place, _ in self._specs], [spec.name for _, spec in self._specs]
        )
        self.inputs = _fields(names, [spec for _, spec in self._specs])
        self.input_shapes = {
            name: spec.sizes for name, (_, spec) in zip(names, self._specs, strict=True)
        }
        given = leaves(results)
        self._output_places = [place for place, _ in given]
        columns = column_names(self._output_places, [f"output_{at}" for at in range(len(given))])
        self.outputs = _fields(columns, [spec for _, spec in given])

    def __call__(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Calls the function of a loaded model."""
        tensors = iter([inputs[field.name] for field in self.inputs])
        values = iter(
            [
                next(tensors) if isinstance(leaf, _Spec) else leaf
                for _, leaf in leaves(self._arguments)
            ]
        )
        positional, keywords = filled(self._arguments, values)
        results = dict(leaves(getattr(model, self.name)(*positional, **keywords)))
        return {
            field.name: results[place]
            for field, place in zip(self.outputs, self._output_places, strict=True)
        }


def saved_functions(objects: Any) -> dict[str, SavedFunction]:
    """The functions of the model itself that take tensors and were traced, by name."""
    found: dict[str, SavedFunction] = {}
    for child in objects.nodes[0].children if objects.nodes else ():
        node = objects.nodes[child.node_id]
        if node.WhichOneof("kind") != "function":
            continue
        traces = [objects.concrete_functions[name] for name in node.function.concrete_functions]
        forms = [form for trace in traces if (form := _form(child.local_name, trace)) is not None]
        if forms:
            found[child.local_name] = max(forms, key=_freedom)
    return found


def _form(name: str, trace: Any) -> SavedFunction | None:
    """A trace as a function of tensors; None where it trains or takes something else."""
    try:
        arguments = _structure(trace.canonicalized_input_signature)
        results = _structure(trace.output_signature)
    except _NotATensorError:
        return None
    values = [leaf for _, leaf in leaves(arguments)]
    is_training = any(leaf is True for leaf in values)
    specs = [leaf for leaf in values if isinstance(leaf, _Spec)]
    gives = [leaf for _, leaf in leaves(results)]
    if is_training or not specs or not all(isinstance(leaf, _Spec) for leaf in gives):
        return None
    return SavedFunction(name, arguments, results)


def _freedom(function: SavedFunction) -> int:
    """How many of its inputs take any number of rows."""
    return sum(sizes is None or sizes[:1] == (None,) for sizes in function.input_shapes.values())


def takes_composites(graph: Any, definition: Any) -> bool:
    """Whether a signature's function takes ragged or sparse tensors.

    The signature itself lists the parts of one as inputs of their own: the values and where
    rows begin, which are not rows.
    """
    traces = graph.object_graph_def.concrete_functions
    bodies = {body.signature.name: body.node_def for body in graph.graph_def.library.function}
    results = {info.name.partition(":")[0] for info in definition.outputs.values()}
    wrappers = _called([node for node in graph.graph_def.node if node.name in results])
    inner = [name for wrapper in wrappers for name in _called(bodies.get(wrapper, ()))]
    for name in [*wrappers, *inner]:
        try:
            if name in traces:
                _structure(traces[name].canonicalized_input_signature)
        except _NotATensorError as error:
            if error.args == ("type_spec_value",):
                return True
    return False


def _called(nodes: Iterable[Any]) -> list[str]:
    return [node.attr["f"].func.name for node in nodes if "f" in node.attr]


class _NotATensorError(Exception):
    """A structure holds something that is neither a dense tensor nor a plain value."""


def _structure(value: Any) -> Any:
    """A saved structure as dicts, lists and tuples, with specs for tensors."""
    import tensorflow as tf

    kind = value.WhichOneof("kind")
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        spec = getattr(value, kind)
        sizes = tuple(None if dim.size < 0 else int(dim.size) for dim in spec.shape.dim)
        dtype = tf.dtypes.as_dtype(spec.dtype).name
        return _Spec(spec.name, dtype, None if spec.shape.unknown_rank else sizes)
    if kind == "dict_value":
        fields = value.dict_value.fields
        return {key: _structure(fields[key]) for key in sorted(fields)}
    if kind in ("tuple_value", "list_value"):
        items = [_structure(item) for item in getattr(value, kind).values]
        return tuple(items) if kind == "tuple_value" else items
    if kind == "none_value":
        return None
    if kind in ("bool_value", "int64_value", "float64_value", "string_value"):
        return getattr(value, kind)
    raise _NotATensorError(kind)


def _fields(names: list[str], specs: list[_Spec]) -> tuple[TensorField, ...]:
    return tuple(
        TensorField(name, spec.dtype, None if spec.sizes is None else spec.sizes[1:])
        for name, spec in zip(names, specs, strict=True)
    )
