"""What the flags of commands that run a model say, typed."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pipelines.gpus import Gpus
from transforms.engine.replicas import Dispatch

if TYPE_CHECKING:
    from transforms.engine.model import ModelSpec

DEFAULT_SPLIT_BYTES = 64 * 2**20

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
