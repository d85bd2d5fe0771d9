"""The flags of commands that run a model: their declaration, and their values, typed."""

from __future__ import annotations

import argparse
import dataclasses
import re
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pipelines.byte_sizes import parse_bytes
from pipelines.file_names import is_utf8
from pipelines.gpus import Gpus, parse_gpus
from transforms.engine.model import PRECISIONS
from transforms.engine.replicas import DISPATCHES, Dispatch

if TYPE_CHECKING:
    from transforms.engine.model import ModelSpec

INPUT_FORMATS = ("auto", "tfrecord", "parquet", "images", "csv", "jsonl")
OUTPUT_FORMATS = ("parquet", "tfrecord", "jsonl", "csv")
DEFAULT_SPLIT_BYTES = 64 * 2**20
MODEL_HELP = "a .keras, .h5 or .weights.h5 file or a SavedModel folder, on any Beam filesystem"

# None is the default: every column that the model does not consume.
Keep = tuple[str, ...] | Literal["all"] | None

_Options = TypeVar("_Options", bound="InferenceOptions")


@dataclasses.dataclass(frozen=True)
class ModelFlags:
    """Which model, and what its file may do."""

    path: str
    signature: str | None = None
    builder: str | None = None
    custom_objects: tuple[tuple[str, str], ...] = ()
    trust: bool = False

    def spec(self) -> ModelSpec:
        """The same for the engine.

        Raises:
          ModelError: a name is not of its form.
        """
        from transforms.engine.model import ModelSpec

        return ModelSpec(
            self.path,
            signature=self.signature,
            builder=self.builder,
            custom_objects=dict(self.custom_objects) or None,
            trust=self.trust,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """What every command takes that runs a model on an input.

    Attributes:
      format_flags: values of the flags that sources and sinks declare themselves.
    """

    input: tuple[str, ...]
    model: ModelFlags
    input_format: str = "auto"
    input_map: tuple[tuple[str, str], ...] = ()
    preprocess: str | None = None
    image_size: tuple[int, int] | None = None
    split_bytes: int = DEFAULT_SPLIT_BYTES
    precision: str | None = None
    devices: tuple[str, ...] | Literal["all"] = "all"
    logical_devices: int | None = None
    xla: bool = False
    dispatch: Dispatch = "mirrored"
    format_flags: argparse.Namespace = dataclasses.field(default_factory=argparse.Namespace)

    @classmethod
    def from_namespace(cls: type[_Options], flags: argparse.Namespace) -> _Options:
        """What a parser with the command's arguments understood."""
        values = dict(vars(flags))
        for name in ("command", "version"):
            values.pop(name, None)
        model = ModelFlags(**{field: values.pop(flag) for flag, field in _MODEL_FLAGS.items()})
        own = {field.name for field in dataclasses.fields(cls)}
        format_flags = {name: values.pop(name) for name in list(values) if name not in own}
        values["input"] = tuple(values["input"])
        return cls(model=model, format_flags=argparse.Namespace(**format_flags), **values)

    def as_arguments(self) -> dict[str, Any]:
        """The flags by name as plain values, for the plan and the report."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("model", "format_flags")
        }
        for flag, field in _MODEL_FLAGS.items():
            values[flag] = getattr(self.model, field)
        return values | vars(self.format_flags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreOptions(InferenceOptions):
    """One `mirrorbeam score` command, its values checked one by one but not against the data."""

    output: str
    output_format: str = "parquet"
    keep: Keep = None
    batch_size: int | Literal["auto"] = "auto"
    max_host_memory: int | None = None
    provenance: bool = True
    max_failed_fraction: float = 0.01
    overwrite: bool = False
    profile: str | None = None
    gpus: Gpus | None = None
    dry_run: bool = False


_MODEL_FLAGS = {
    "model": "path",
    "signature": "signature",
    "builder": "builder",
    "custom_objects": "custom_objects",
    "trust_model": "trust",
}


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
        type=_object_path,
        help="builds the model that a .weights.h5 file fills",
    )
    group.add_argument(
        "--custom_objects",
        metavar="NAME=MODULE:NAME,…",
        type=_named_objects,
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
        type=_path,
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
        type=_pairs,
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
        type=_size,
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
    group.add_argument("--model", required=True, metavar="PATH", type=_path, help=MODEL_HELP)
    group.add_argument(
        "--precision", choices=PRECISIONS, help="dtype policy of a Keras file's layers"
    )

    group = parser.add_argument_group("devices")
    group.add_argument(
        "--devices",
        metavar="NAMES",
        type=_devices,
        default="all",
        help="all (default), or names such as GPU:0,GPU:1",
    )
    group.add_argument(
        "--logical_devices",
        metavar="N",
        type=positive,
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
        "--output", required=True, metavar="FOLDER", type=_path, help="new, or of the same job"
    )
    group.add_argument(
        "--output_format", choices=OUTPUT_FORMATS, default="parquet", help="(default: parquet)"
    )
    group.add_argument(
        "--keep",
        metavar="COLUMN,…",
        type=_keep,
        help="columns copied to the output: names, all or none (default: every column that the "
        "model does not consume)",
    )
    group.add_argument(
        "--provenance",
        metavar="on|off",
        type=_on_off,
        default=True,
        help="write _source and _row with every row (default: on)",
    )
    group.add_argument(
        "--max_failed_fraction",
        metavar="FRACTION",
        type=_fraction,
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
        type=_batch_size,
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
        type=_gpus,
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


def _reject(expected: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {expected}. Received: {text!r}.")


def _path(text: str) -> str:
    # That of an unset shell variable would mean the working folder.
    if not text.strip():
        raise _reject("a path", text)
    if not is_utf8(text):
        raise _reject("a path in UTF-8", text)
    return text


def _gpus(text: str) -> Gpus:
    try:
        return parse_gpus(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise _reject("names separated by commas", text)
    return names


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, str] = {}
    for item in text.split(","):
        name, separator, value = (part.strip() for part in item.partition("="))
        if not (name and separator and value) or name in pairs:
            raise _reject("name=value pairs separated by commas, each name once", text)
        pairs[name] = value
    return tuple(pairs.items())


def _object_path(text: str) -> str:
    if not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise _reject("module:name", text)
    return text


def _named_objects(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, _object_path(path)) for name, path in _pairs(text))


def _keep(text: str) -> Keep:
    if text == "all":
        return "all"
    return () if text == "none" else _names(text)


def _devices(text: str) -> tuple[str, ...] | Literal["all"]:
    return "all" if text == "all" else _names(text)


def positive(text: str) -> int:
    """A whole number above 0, for `ArgumentParser`.

    Raises:
      argparse.ArgumentTypeError: the text is another.
    """
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _reject("a whole number above 0", text)
    return int(text)


def _batch_size(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _reject("auto or a whole number above 0", text)
    return int(text)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]*)\s*,\s*([1-9][0-9]*)", text.strip(), re.ASCII)
    if match is None:
        raise _reject("height,width in pixels, such as 224,224", text)
    return int(match[1]), int(match[2])


def _on_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise _reject("on or off", text)
    return text == "on"


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _reject("a number from 0 to 1", text) from None
    if not 0 <= value <= 1:
        raise _reject("a number from 0 to 1", text)
    return value
