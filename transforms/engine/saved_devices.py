"""Devices that a SavedModel's functions were saved with, and a copy without them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

from transforms.engine.saved_model import SavedModelFile

# Reading and writing checkpoints is done on the host on purpose.
_CHECKPOINT_OPS = (
    "SaveV2",
    "RestoreV2",
    "MergeV2Checkpoints",
    "ShardedFilename",
    "Save",
    "Restore",
)


def hard_coded_devices(file: SavedModelFile) -> list[str]:
    """Devices that the model's computation asks for by name, wherever it runs.

    An operation saved under `tf.device("/GPU:0")` would run there for every replica.
    """
    return sorted({node.device for node in _pinned_nodes(file.graph)})


def copy_without_devices(file: SavedModelFile, folder: str) -> str:
    """Writes the model without its devices; weights and assets are linked, not copied.

    Args:
      file: the SavedModel.
      folder: an empty folder to make it in, which must stay as long as the model.

    Returns:
      The copy's path.
    """
    saved_model = copy.deepcopy(file.saved_model)
    for graph in saved_model.meta_graphs:
        for node in _pinned_nodes(graph):
            node.device = ""
    target = os.path.join(folder, "model")
    os.mkdir(target)
    for name in os.listdir(file.path):
        # The fingerprint is of the bytes that change here.
        if name not in ("saved_model.pb", "saved_model.pbtxt", "fingerprint.pb"):
            os.symlink(os.path.abspath(os.path.join(file.path, name)), os.path.join(target, name))
    with open(os.path.join(target, "saved_model.pb"), "wb") as out:
        out.write(saved_model.SerializeToString())
    return target


def _pinned_nodes(graph: Any) -> Iterator[Any]:
    """Nodes with a device, but for those that save and restore."""
    for function in graph.graph_def.library.function:
        if not any(node.op in _CHECKPOINT_OPS for node in function.node_def):
            yield from (node for node in function.node_def if node.device)
    if graph.object_graph_def.nodes:
        return  # What lies outside functions is there for TensorFlow 1 alone.
    saver = graph.saver_def.restore_op_name.partition("/")[0]
    for node in graph.graph_def.node:
        if node.device and node.op not in _CHECKPOINT_OPS and node.name.partition("/")[0] != saver:
            yield node
