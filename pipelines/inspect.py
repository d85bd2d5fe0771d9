"""`mirrorbeam inspect`: what a model takes and gives, and how it will lie on the devices."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import CommandError
from pipelines.native_logs import import_tensorflow
from pipelines.options import ModelFlags
from pipelines.user_code import look_in_working_folder
from transforms.conversion import FeatureError
from transforms.engine.model import (
    ModelError,
    ModelKind,
    ModelSpec,
    model_digest,
    model_kind,
)
from transforms.engine.replicas import open_replicas
from transforms.engine.signature import TensorField
from transforms.matching import match_columns
from transforms.model_files import fetch_model

if TYPE_CHECKING:
    import tensorflow as tf


# How objects hang together: an entry of checkpoints that is no variable.
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

_LEAF_TYPES = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
}


def run(flags: argparse.Namespace, beam_arguments: Sequence[str]) -> int:
    """Carries `mirrorbeam inspect` out.

    Args:
      flags: what the parser understood.
      beam_arguments: none.

    Returns:
      The exit code 0.

    Raises:
      CommandError: the model cannot be loaded.
    """
    del beam_arguments
    if "tensorflow" not in sys.modules:
        # Looking at a model must not take a GPU's memory from a job that runs.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    model = ModelFlags(
        flags.model, flags.signature, flags.builder, flags.custom_objects, flags.trust_model
    )
    import_tensorflow()
    try:
        facts = inspect_model(model)
    except ModelError as error:
        raise CommandError(" ".join(str(error).split())) from error
    sys.stdout.write(json.dumps(facts, indent=1) + "\n" if flags.json else _as_text(facts))
    return 0


def inspect_model(flags: ModelFlags) -> dict[str, Any]:
    """Loads a model on the CPU and describes it in plain values.

    Raises:
      ModelError: it cannot be loaded.
    """
    from transforms.engine.loading import load_model
    from transforms.engine.mirroring import recorded_variables

    look_in_working_folder()
    spec = flags.spec()
    local = dataclasses.replace(spec, path=fetch_model(spec.path))
    kind = model_kind(local.path)
    strategy = _two_replicas()
    with strategy.scope(), recorded_variables() as made:
        loaded = load_model(local, strategy)
    signature = loaded.signature
    return {
        "model": spec.path,
        "kind": kind,
        "digest": model_digest(local),
        "size_bytes": _size_bytes(local),
        "signature": signature.name,
        "inputs": [
            _field(field) | {"accepts": accepted_columns(field)} for field in signature.inputs
        ],
        "takes_records": signature.takes_records,
        "outputs": [_field(field) for field in signature.outputs or ()],
        "variables": _variables(local, kind, made),
        "mirrored": loaded.mirrored,
        "bytes_per_device": loaded.bytes_per_device,
        "loading": loaded.how,
        "file_operations": _file_operations(local, kind),
    }


def _file_operations(spec: ModelSpec, kind: ModelKind) -> list[str]:
    if kind != "saved_model":
        return []
    from transforms.engine.file_operations import file_operations
    from transforms.engine.saved_model import read_saved_model

    return file_operations(read_saved_model(spec.path))


def _two_replicas() -> tf.distribute.Strategy:
    """Enough devices to see whether variables are mirrored."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    is_cut = tf.config.get_logical_device_configuration(cpu) is not None
    return open_replicas(("CPU:0", "CPU:1"), None if is_cut else 2).strategy


def accepted_columns(field: TensorField) -> list[str]:
    """Stored types whose columns can feed an input, the row's shape left aside."""
    return [name for name, kind in _LEAF_TYPES.items() if _accepts(field, kind)]


def _accepts(field: TensorField, kind: pa.DataType) -> bool:
    column = pa.field(field.name, kind if field.shape == () else pa.list_(kind))
    try:
        match_columns(pa.schema([column]), [field])
    except FeatureError:
        return False
    return True


def _variables(spec: ModelSpec, kind: ModelKind, made: Sequence[Any]) -> list[dict[str, Any]]:
    """Names, dtypes and shapes, from the built model, from loading, or from the file."""
    import tensorflow as tf

    if kind != "saved_model":
        from transforms.engine.keras_loading import build_keras_model

        made = build_keras_model(spec, kind).model.variables
    if made:
        return [
            {
                "name": getattr(variable, "path", variable.name).removesuffix(":0"),
                "dtype": tf.as_dtype(variable.dtype).name,
                "shape": list(variable.shape),
            }
            for variable in made
        ]
    # TensorFlow 1 makes variables that nobody hears of; its checkpoint lists them.
    checkpoint = Path(spec.path) / "variables" / "variables"
    if not checkpoint.with_name("variables.index").exists():
        return []
    reader = tf.train.load_checkpoint(str(checkpoint))
    dtypes = reader.get_variable_to_dtype_map()
    return [
        {"name": name, "dtype": dtypes[name].name, "shape": shape}
        for name, shape in sorted(reader.get_variable_to_shape_map().items())
        if name != _OBJECT_GRAPH
    ]


def _field(field: TensorField) -> dict[str, Any]:
    shape = None if field.shape is None else list(field.shape)
    return {"name": field.name, "dtype": field.dtype, "shape": shape}


def _size_bytes(spec: ModelSpec) -> int:
    path = Path(spec.path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _as_text(facts: Mapping[str, Any]) -> str:
    lines = [
        f"{facts['model']}: {facts['kind']}, {facts['size_bytes']:,} bytes",
        f"sha256 {facts['digest']}",
        "",
        f"inputs of {facts['signature']}",
        *(f"  {_described(field)}" for field in facts["inputs"]),
        "",
        "outputs",
        *(f"  {_described(field)}" for field in facts["outputs"]),
        "",
        "columns that fit",
        *(f"  {_fitting(field)}" for field in facts["inputs"]),
    ]
    if facts["takes_records"]:
        lines.append("  from TFRecords the input gets the whole record")
    if facts["file_operations"]:
        named = ", ".join(facts["file_operations"])
        lines += ["", f"its graph reads or writes files or calls Python: {named}"]
    lines += [
        "",
        facts["loading"],
        "",
        "variables",
        *(
            f"  {variable['name']}  {variable['dtype']}{variable['shape']}"
            for variable in facts["variables"]
        ),
    ]
    return "\n".join(lines) + "\n"


def _described(field: Mapping[str, Any]) -> str:
    shape = None if field["shape"] is None else tuple(field["shape"])
    return f"{field['name']}  {TensorField(field['name'], field['dtype'], shape)}"


def _fitting(field: Mapping[str, Any]) -> str:
    shape = field["shape"]
    kinds = ", ".join(field["accepts"])
    if shape is None:
        return f"{field['name']}  scalars or lists of {kinds}"
    if not shape:
        return f"{field['name']}  {kinds}"
    sizes = "×".join("?" if size is None else str(size) for size in shape)
    scalar = " (a scalar too)" if all(size == 1 for size in shape) else ""
    return f"{field['name']}  lists, flat or nested, of {sizes}{scalar}: {kinds}"
