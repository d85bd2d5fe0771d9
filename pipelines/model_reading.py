"""A model of the command line, read but not built."""

from __future__ import annotations

import dataclasses

from pipelines.options import ModelFlags
from pipelines.user_code import look_in_working_folder
from transforms.engine.model import (
    ModelKind,
    ModelSpec,
    import_object,
    model_digest,
    model_kind,
)
from transforms.engine.read_signature import read_signature
from transforms.engine.signature import Signature
from transforms.model_files import fetch_model


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that could be read.

    Attributes:
      spec: as the workers get it, with the path that the user gave.
      local: the same with a path on this machine.
    """

    spec: ModelSpec
    local: ModelSpec
    kind: ModelKind
    signature: Signature
    digest: str


def read_model(flags: ModelFlags, *, precision: str | None = None, complete: bool = False) -> Model:
    """Reads what a model takes, without building it here.

    Args:
      flags: which model, and how it is loaded.
      precision: dtype policy that it will be loaded with.
      complete: read what it gives too, though that may take seconds.

    Raises:
      ModelError: it cannot be read, or not with these flags.
    """
    look_in_working_folder()
    spec = flags.spec()
    for name, path in flags.custom_objects:
        import_object(path, f"custom object {name!r}", f"--custom_objects {name}=module:name")
    local = dataclasses.replace(spec, path=fetch_model(spec.path))
    signature = read_signature(local, complete=complete, precision=precision)
    return Model(spec, local, model_kind(local.path), signature, model_digest(local))
