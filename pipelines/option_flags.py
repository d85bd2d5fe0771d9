"""The flags of commands that run a model: their declaration."""

from __future__ import annotations

import argparse

from pipelines.byte_sizes import parse_bytes
from pipelines.option_values import (
    parse_batch_size,
    parse_devices,
    parse_fraction,
    parse_gpu_count,
    parse_keep,
    parse_named_objects,
    parse_object_path,
    parse_on_off,
    parse_pairs,
    parse_path,
    parse_positive,
    parse_size,
)
from pipelines.options import DEFAULT_SPLIT_BYTES
from transforms.engine.model import PRECISIONS
from transforms.engine.replicas import DISPATCHES

INPUT_FORMATS = ("auto", "tfrecord", "parquet", "images", "csv", "jsonl")
OUTPUT_FORMATS = ("parquet", "tfrecord", "jsonl", "csv")
MODEL_HELP = "a .keras, .h5 or .weights.h5 file or a SavedModel folder, on any Beam filesystem"


def add_model_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declares the flags that say how a model is loaded, for every command that takes one."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--signature",
        metavar="NAME",
        help="SavedModel signature (default: serving_default, or the only one)",
    )
    group.add_argument(
        "--builder",
        metavar="MODULE:FUNCTION",
        type=parse_object_path,
        help="builds the model that a .weights.h5 file fills",
    )
    group.add_argument(
        "--custom_objects",
        metavar="NAME=MODULE:NAME,…",
        type=parse_named_objects,
        default=(),
        help="classes and functions that a Keras file refers to",
    )
    group.add_argument(
        "--trust_model",
        action="store_true",
        help="allow code inside the model file, such as Lambda layers",
    )
    return group


def add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `InferenceOptions`, but for those of sources."""
    group = parser.add_argument_group("input")
    group.add_argument(
        "--input",
        nargs="+",
        type=parse_path,
        action="extend",
        required=True,
        metavar="PATH",
        help="globs, files or folders on any Beam filesystem, separated by spaces or commas",
    )
    group.add_argument(
        "--input_format",
        choices=INPUT_FORMATS,
        default="auto",
        help="auto goes by suffix (default)",
    )
    group.add_argument(
        "--input_map",
        metavar="INPUT=COLUMN,…",
        type=parse_pairs,
        default=(),
        help="which column feeds which model input (default: by name)",
    )
    group.add_argument(
        "--preprocess",
        metavar="FILE.py:FUNCTION",
        help="traced into the device step: file.py:function, whose text travels with the job, "
        "or package.module:function; its parameters are column names",
    )
    group.add_argument(
        "--image_size",
        metavar="H,W",
        type=parse_size,
        help="resize images to this on the device, bilinear (default: the signature's size)",
    )
    group.add_argument(
        "--split_bytes",
        metavar="BYTES",
        type=parse_bytes,
        default=DEFAULT_SPLIT_BYTES,
        help="input bytes per split, such as 67108864 or 64MiB (default)",
    )

    group = add_model_arguments(parser)
    group.add_argument("--model", required=True, metavar="PATH", type=parse_path, help=MODEL_HELP)
    group.add_argument(
        "--precision", choices=PRECISIONS, help="dtype policy of a Keras file's layers"
    )

    group = parser.add_argument_group("devices")
    group.add_argument(
        "--devices",
        metavar="NAMES",
        type=parse_devices,
        default="all",
        help="all (default), or names such as GPU:0,GPU:1",
    )
    group.add_argument(
        "--logical_devices",
        metavar="N",
        type=parse_positive,
        help="make N logical devices of each physical one",
    )
    group.add_argument("--xla", action="store_true", help="compile the step with XLA")
    group.add_argument(
        "--dispatch",
        choices=DISPATCHES,
        default="mirrored",
        help="mirrored (default): all devices run each batch in lock step; independent: each "
        "takes the next part of a batch when it is done with its last",
    )


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `mirrorbeam score`, but for those of sources and sinks."""
    add_inference_arguments(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output", required=True, metavar="FOLDER", type=parse_path, help="new, or of the same job"
    )
    group.add_argument(
        "--output_format", choices=OUTPUT_FORMATS, default="parquet", help="(default: parquet)"
    )
    group.add_argument(
        "--keep",
        metavar="COLUMN,…",
        type=parse_keep,
        help="columns copied to the output: names, all or none (default: every column that the "
        "model does not consume)",
    )
    group.add_argument(
        "--provenance",
        metavar="on|off",
        type=parse_on_off,
        default=True,
        help="write _source and _row with every row (default: on)",
    )
    group.add_argument(
        "--max_failed_fraction",
        metavar="FRACTION",
        type=parse_fraction,
        default=0.01,
        help="more failed rows than this share of all, and more than 10, fail the job "
        "(default: 0.01)",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="delete what an earlier job wrote to this folder, and start anew (default: resume)",
    )

    group = parser.add_argument_group("run")
    group.add_argument(
        "--max_host_memory",
        metavar="BYTES",
        type=parse_bytes,
        help="what a worker process may hold of rows under way, such as 2GiB: half for input "
        "that waits or runs, a sixteenth for each part that is being written (default: by the "
        "machine's free memory)",
    )
    group.add_argument(
        "--batch_size",
        metavar="ROWS",
        type=parse_batch_size,
        default="auto",
        help="rows of a step over all devices, or auto (default)",
    )
    group.add_argument(
        "--profile",
        metavar="DIR",
        help="write a TensorBoard trace of some steps and a Python profile there; slows the job",
    )
    group.add_argument(
        "--gpus",
        metavar="KIND:COUNT",
        type=parse_gpu_count,
        help="GPUs of each worker machine that Dataflow starts, such as nvidia-l4:4; fills in "
        "the Beam options that this takes",
    )
    group.add_argument(
        "--dry_run", action="store_true", help="validate everything, print the plan, run nothing"
    )


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags that input formats have of their own."""
    from pipelines.sources import SOURCE_NAMES, source_class

    group = parser.add_argument_group("input formats")
    for source in SOURCE_NAMES:
        source_class(source).add_arguments(group)


def add_sink_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags that output formats have of their own."""
    from pipelines.sinks import SINK_NAMES, sink_class

    group = parser.add_argument_group("output formats")
    for sink in SINK_NAMES:
        sink_class(sink).add_arguments(group)
