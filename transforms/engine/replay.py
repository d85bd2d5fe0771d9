"""A traced function taken apart: its operations in order, with the bytes that each makes.

Every operation is made once more in a graph of its own, in which TensorFlow's shape inference says
the sizes; nothing runs. Calls are replayed in place with the shapes that they get, so that a
SavedModel, whose work is inside calls, comes apart like any other model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from transforms.engine.node_order import in_order
from transforms.engine.recording import Operation, Recording, Value

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_BRANCHES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_LOOPS = frozenset({"While", "StatelessWhile"})
_LOOKUPS = frozenset({"LookupTableFind", "LookupTableFindV2"})
# A string in a tensor, without its text.
_STRING_BYTES = 24


def record(
    function: Any, row_shapes: Sequence[tuple[int, ...]], rows: int, outputs: int
) -> Recording:
    """Replays a concrete function for a number of rows.

    Args:
      function: a `ConcreteFunction` whose first inputs have a row dimension.
      row_shapes: shapes of these inputs, without the rows.
      rows: how many rows they have.
      outputs: how many of its results are wanted, from the first on; work that only others need
        is left out.

    Raises:
      ValueError: TensorFlow refuses these shapes.
    """
    import tensorflow as tf

    definition = function.function_def
    library = {item.signature.name: item for item in function.graph.as_graph_def().library.function}
    results = [definition.ret[arg.name] for arg in definition.signature.output_arg[:outputs]]
    with tf.Graph().as_default() as graph:
        replay = _Replay(graph, library, rows)
        arguments = [
            tf.compat.v1.placeholder(tensor.dtype, (rows, *row_shapes[index]))
            if index < len(row_shapes)
            else replay.stand_in(tensor)
            for index, tensor in enumerate(function.inputs)
        ]
        made = replay.call(definition, arguments, results)
        read = {name for operation in replay.operations for name in operation.inputs}
        read.update(tensor.name for tensor in made)
        return Recording(
            tuple(replay.value(tensor) for tensor in arguments if tensor.name in read),
            tuple(replay.operations),
            tuple(tensor.name for tensor in made),
        )


class _List(NamedTuple):
    """What is known of a list of tensors."""

    length: int | None
    item: Any
    """A tensor of the shape of its items; None before one is written."""


class _Replay:
    """Makes operations again, and writes down what they are."""

    def __init__(self, graph: Any, library: Mapping[str, Any], rows: int) -> None:
        self.operations: list[Operation] = []
        self._graph = graph
        self._library = library
        self._rows = rows
        self._lists: dict[str, _List] = {}
        self._filled_bytes: dict[str, int] = {}
        self._variables: dict[str, int] = {}

    def call(self, function: Any, arguments: Sequence[Any], results: Sequence[str]) -> list[Any]:
        """Replays a function; gives the tensors that stand for `results`."""
        names = [arg.name for arg in function.signature.input_arg]
        made: dict[str, list[Any]] = {
            name: [tensor] for name, tensor in zip(names, arguments, strict=True)
        }
        nodes = {node.name: node for node in function.node_def}

        def find(reference: str) -> Any:
            name, _, place = reference.partition(":")
            if name not in nodes:
                return made[name][0]
            output, _, index = place.partition(":")
            return made[name][self._offset(nodes[name], output) + int(index or 0)]

        for node in in_order(function.node_def, results):
            references = [each for each in node.input if not each.startswith("^")]
            if node.op == "Merge":
                # What comes round a loop of TensorFlow 1 is not there yet.
                references = [each for each in references if each.partition(":")[0] in made]
                references = references * len(node.input)
                references = references[: node.attr["N"].i]
            made[node.name] = self._make(node, [find(each) for each in references])
        return [find(each) for each in results]

    def stand_in(self, tensor: Any) -> Any:
        """A tensor like this one of another graph; for a handle a variable of its shape."""
        import tensorflow as tf

        if tensor.dtype == tf.resource:
            data = tf.__internal__.ops.get_resource_handle_data(tensor).shape_and_type
            if data:
                attributes = {"dtype": _attribute(type=data[0].dtype)}
                attributes["shape"] = _attribute(shape=data[0].shape)
                return self._operation("VarHandleOp", [], attributes)[0]
        return tf.compat.v1.placeholder(tensor.dtype, tensor.shape)

    def value(self, tensor: Any) -> Value:
        """What a tensor of the replay takes."""
        if tensor.name in self._variables:
            return Value(tensor.name, self._variables[tensor.name], is_variable=True)
        size = self._filled_bytes.get(tensor.name)
        if size is None:
            size = self._bytes(tensor)
        return Value(tensor.name, size, on_host=tensor.dtype.name == "string")

    def _make(self, node: Any, inputs: list[Any]) -> list[Any]:
        function = self._library.get(node.op)
        if node.op in _CALLS:
            function = self._library.get(node.attr["f"].func.name)
        if function is not None:
            return self._call_whole(function, inputs)
        if node.op in _BRANCHES:
            branches = [node.attr[key].func for key in ("then_branch", "else_branch")]
            branches = branches if "If" in node.op else node.attr["branches"].list.func
            # One after the other: what the larger one needs is then in the record.
            taken = [self._call_whole(self._library[each.name], inputs[1:]) for each in branches]
            return taken[0]
        if node.op in _LOOPS:
            return self._loop(node, inputs)
        attributes = {key: node.attr[key] for key in node.attr if not key.startswith("_")}
        made = self._operation(node.op, inputs, attributes)
        self._follow(node.op, inputs, made)
        if node.op == "VarHandleOp" or node.op.startswith("Variable"):
            self._variables.setdefault(made[0].name, 0)
        kind = "Identity" if node.op == "Transpose" and _moves_nothing(*inputs) else node.op
        self.operations.append(
            Operation(
                kind,
                tuple(tensor.name for tensor in inputs),
                tuple(self.value(tensor) for tensor in made),
            )
        )
        return made

    def _call_whole(self, function: Any, arguments: Sequence[Any]) -> list[Any]:
        results = [function.ret[arg.name] for arg in function.signature.output_arg]
        return self.call(function, arguments, results)

    def _operation(self, kind: str, inputs: list[Any], attributes: dict[str, Any]) -> list[Any]:
        made = list(self._graph.create_op(kind, inputs, attrs=attributes).outputs)
        if kind == "VarHandleOp":
            entries = [dim.size for dim in attributes["shape"].shape.dim]
            self._variables[made[0].name] = _size(attributes["dtype"].type) * math.prod(entries)
        return made

    def _loop(self, node: Any, inputs: list[Any]) -> list[Any]:
        import tensorflow as tf

        body = self._library[node.attr["body"].func.name]
        parameters = []
        for tensor in inputs:
            fresh = tensor
            if tensor.dtype != tf.resource:
                fresh = tf.compat.v1.placeholder(tensor.dtype, tensor.shape)
            if tensor.name in self._lists:
                self._lists[fresh.name] = self._lists[tensor.name]
            parameters.append(fresh)
        around, self.operations = self.operations, []
        results = self._call_whole(body, parameters)
        turn = Recording(
            tuple(self.value(tensor) for tensor in parameters),
            tuple(self.operations),
            tuple(tensor.name for tensor in results),
        )
        self.operations = around
        lengths = [self._lists[each.name].length for each in parameters if each.name in self._lists]
        turns = max((length for length in lengths if length is not None), default=1)
        made, outputs = [], []
        for given, parameter, result in zip(inputs, parameters, results, strict=True):
            if result is parameter or result.dtype == tf.resource:
                made.append(given)
                continue
            after = tf.compat.v1.placeholder(result.dtype, result.shape)
            if result.name in self._lists:
                filled = self._lists[result.name]
                self._lists[after.name] = filled
                items = turns if filled.length is None else filled.length
                item_bytes = 0 if filled.item is None else self._bytes(filled.item)
                self._filled_bytes[after.name] = items * item_bytes
            made.append(after)
            outputs.append(self.value(after))
        ahead = max(1, min(turns, node.attr["parallel_iterations"].i or 10))
        names = tuple(tensor.name for tensor in inputs)
        self.operations.append(Operation(node.op, names, tuple(outputs), turn, ahead))
        return made

    def _follow(self, kind: str, inputs: list[Any], made: list[Any]) -> None:
        """Knows what shape inference does not: sizes of lists and of what is looked up."""
        import tensorflow as tf

        if kind in _LOOKUPS and made[0].shape.rank is None:
            made[0].set_shape(inputs[1].shape)
        if kind == "TensorListFromTensor":
            self._lists[made[0].name] = _List(inputs[0].shape[0], inputs[0][0])
            self._filled_bytes[made[0].name] = self._bytes(inputs[0])
        elif kind == "TensorListReserve":
            # A shape of this length is what inference evaluates.
            length = tf.fill(tf.reshape(inputs[1], [1]), 0).shape[0]
            self._lists[made[0].name] = _List(length, None)
        elif not inputs or inputs[0].name not in self._lists:
            return
        elif kind == "TensorListSetItem":
            self._lists[made[0].name] = self._lists[inputs[0].name]._replace(item=inputs[2])
        elif kind == "TensorListPushBack":
            self._lists[made[0].name] = self._lists[inputs[0].name]._replace(item=inputs[1])
        elif made[0].dtype == tf.variant:
            self._lists[made[0].name] = self._lists[inputs[0].name]
        else:
            length, item = self._lists[inputs[0].name]
            if item is not None and kind == "TensorListGetItem":
                made[0].set_shape(item.shape)
            if item is not None and kind == "TensorListStack":
                made[0].set_shape([length, *item.shape])

    def _offset(self, node: Any, output: str) -> int:
        """Where a named output starts among all outputs of a node."""
        if node.op in self._library:
            names = [arg.name for arg in self._library[node.op].signature.output_arg]
            return names.index(output)
        offset = 0
        for arg in self._graph.op_def_for_type(node.op).output_arg:
            if arg.name == output:
                break
            if arg.number_attr:
                offset += node.attr[arg.number_attr].i
            elif arg.type_list_attr:
                offset += len(node.attr[arg.type_list_attr].list.type)
            else:
                offset += 1
        return offset

    def _bytes(self, tensor: Any) -> int:
        if tensor.dtype.name in ("resource", "variant"):
            return 0
        entry_bytes = _STRING_BYTES if tensor.dtype.name == "string" else tensor.dtype.size
        if tensor.shape.rank is None:
            return self._rows * entry_bytes
        sizes = tensor.shape.as_list()
        rows = self._rows if None in sizes else 1
        return rows * math.prod(size for size in sizes if size is not None) * entry_bytes


def _moves_nothing(tensor: Any, order: Any) -> bool:
    """Whether a transposition only renames dimensions, so that TensorFlow copies nothing."""
    import tensorflow as tf

    axes = tf.get_static_value(order)
    if axes is None or tensor.shape.rank is None:
        return False
    wide = [axis for axis in axes if tensor.shape[int(axis)] != 1]
    return wide == sorted(wide)


def _attribute(**value: Any) -> Any:
    import tensorflow as tf

    return tf.compat.v1.AttrValue(**value)


def _size(dtype: int) -> int:
    import tensorflow as tf

    return tf.as_dtype(dtype).size
