"""A SavedModel as it lies there: its signatures, read without loading it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from typing import Any

from transforms.engine.model import ModelError
from transforms.engine.saved_function import SavedFunction, saved_functions, takes_composites
from transforms.engine.signature import Signature, TensorField

_DEFAULT = "serving_default"
_INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")


@dataclasses.dataclass(frozen=True)
class SavedModelFile:
    """The part of a SavedModel that serves.

    Attributes:
      path: its folder.
      saved_model: the parsed protocol buffer.
      graph: the meta graph that serves, a part of `saved_model`.
    """

    path: str
    saved_model: Any
    graph: Any

    @property
    def is_tf1(self) -> bool:
        """Whether it was made as in TensorFlow 1, without objects that own the variables."""
        return not self.graph.object_graph_def.nodes

    @property
    def tags(self) -> list[str]:
        """What tells the graph that serves from the others."""
        return sorted(self.graph.meta_info_def.tags)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One way to call a SavedModel.

    Attributes:
      signature: its inputs and outputs.
      function: how to call it, where it is a function of the model and not a signature.
    """

    signature: Signature
    function: SavedFunction | None = None


def read_saved_model(path: str) -> SavedModelFile:
    """Parses a SavedModel's description; no weights are read and no device is started.

    Raises:
      ModelError: it cannot be read.
    """
    from google.protobuf import message, text_format  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    binary = os.path.join(path, "saved_model.pb")
    try:
        if os.path.exists(binary):
            with open(binary, "rb") as file:
                saved_model.ParseFromString(file.read())
        else:
            with open(f"{binary}txt", encoding="utf-8") as text:
                text_format.Parse(text.read(), saved_model)
    except (OSError, message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(
            f"expected a SavedModel. Received: {path!r}, whose saved_model.pb cannot be read "
            f"({error}). Save the model again."
        ) from error
    graphs = list(saved_model.meta_graphs)
    serving = [graph for graph in graphs if "serve" in graph.meta_info_def.tags] or graphs
    if not serving:
        raise ModelError(
            f"expected a SavedModel with a graph. Received: {path!r}, which has none. "
            "Save the model again."
        )
    return SavedModelFile(path, saved_model, serving[0])


def endpoint(file: SavedModelFile, wanted: str | None) -> Endpoint:
    """The way to call a SavedModel that was asked for.

    Args:
      file: the SavedModel.
      wanted: name of a signature, or of a function of the model. None means
        `serving_default`, else the only signature, else the model's `__call__`.

    Raises:
      ModelError: there is no such signature, or it takes or gives what cannot be a column.
    """
    signatures = file.graph.signature_def
    names = sorted(name for name in signatures if name not in _INTERNAL)
    if wanted is None and _DEFAULT in names:
        wanted = _DEFAULT
    elif wanted is None and len(names) == 1:
        wanted = names[0]
    if wanted in names:
        if takes_composites(file.graph, signatures[wanted]):
            raise _composite_error(file.path, str(wanted), "takes one that is ragged or sparse")
        return Endpoint(_signature(file.path, str(wanted), signatures[wanted]))
    functions = saved_functions(file.graph.object_graph_def)
    if wanted is None and not names and "__call__" in functions:
        wanted = "__call__"
    function = functions.get(wanted or "")
    if function is not None:
        for field in function.inputs:
            _check_rows(file.path, function.name, field.name, function.input_shapes[field.name])
        return Endpoint(Signature(function.name, function.inputs, function.outputs), function)
    raise _no_such_signature(file.path, wanted, names, sorted(functions))


def _no_such_signature(
    path: str, wanted: str | None, names: list[str], functions: list[str]
) -> ModelError:
    there = [f"the signatures {', '.join(names)}" if names else "no signature"]
    if functions:
        there.append(f"the functions {', '.join(functions)}")
    expected = "a signature to call" if wanted is None else f"the signature {wanted!r}"
    remedy = "Pass --signature with one of them."
    if not names and not functions:
        remedy = "Save the model with signatures, for example with model.export('folder')."
    return ModelError(
        f"expected {expected} in the SavedModel. Received: {path!r}, which has "
        f"{' and '.join(there)}. {remedy}"
    )


def _signature(path: str, name: str, definition: Any) -> Signature:
    inputs = [
        _field(path, name, key, definition.inputs[key], is_input=True)
        for key in natural_order(definition.inputs)
    ]
    outputs = [
        _field(path, name, key, definition.outputs[key], is_input=False)
        for key in natural_order(definition.outputs)
    ]
    if not inputs:
        raise ModelError(
            f"expected a signature with inputs. Received: {path!r}, whose signature {name!r} "
            "takes nothing. Pass --signature with another."
        )
    return Signature(name, tuple(inputs), tuple(outputs))


def natural_order(names: Iterable[str]) -> list[str]:
    """Names in order, numbers in them by value: `output_2` before `output_10`."""
    return sorted(
        names,
        key=lambda name: [
            (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
        ],
    )


def _field(path: str, signature: str, key: str, info: Any, *, is_input: bool) -> TensorField:
    import tensorflow as tf

    kind = info.WhichOneof("encoding")
    if kind in ("coo_sparse", "composite_tensor"):
        verb = "takes" if is_input else "gives"
        raise _composite_error(path, signature, f"{verb} {key!r} sparse or ragged")
    dtype = tf.dtypes.as_dtype(info.dtype).name
    if info.tensor_shape.unknown_rank:
        return TensorField(key, dtype, None)
    sizes = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    if is_input:
        _check_rows(path, signature, key, sizes)
    return TensorField(key, dtype, sizes[1:])


def _composite_error(path: str, signature: str, what: str) -> ModelError:
    return ModelError(
        f"expected a signature of dense tensors. Received: {path!r}, whose signature "
        f"{signature!r} {what}. Export a signature that takes and gives dense tensors."
    )


def _check_rows(path: str, signature: str, name: str, sizes: tuple[int | None, ...] | None) -> None:
    """An input must take any number of rows in its first dimension."""
    if sizes is None or (sizes and sizes[0] is None):
        return
    shape = ", ".join("?" if size is None else str(size) for size in sizes)
    raise ModelError(
        f"expected inputs whose first dimension is free, for the rows. Received: {path!r}, whose "
        f"signature {signature!r} takes {name!r} as [{shape}]. Export a signature with None there."
    )


def reference_variables_bytes(graph: Any) -> list[int]:
    """Bytes of each variable that is an operation of the graph, as they were in TensorFlow 1."""
    import tensorflow as tf

    return [
        tf.TensorShape(node.attr["shape"].shape).num_elements()
        * tf.dtypes.as_dtype(node.attr["dtype"].type).size
        for node in graph.graph_def.node
        if node.op in ("Variable", "VariableV2")
    ]
