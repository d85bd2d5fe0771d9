"""The known ways in which a command can be wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipelines.errors import CommandError
from pipelines.output_folder import OutputError
from pipelines.retrying import OutageError
from pipelines.sinks.base import SinkError
from transforms.conversion import FeatureError
from transforms.engine.errors import SetupError
from transforms.engine.model import ModelError
from transforms.engine.replicas import DeviceError
from transforms.outputs import OutputError as OutputColumnError

_REFUSALS = (
    ModelError, FeatureError, SinkError, OutputError, OutputColumnError, DeviceError, SetupError,
    OutageError,
)  # fmt: skip


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Makes the known ways in which a command can be wrong a `CommandError`."""
    try:
        yield
    except _REFUSALS as error:
        raise CommandError(" ".join(str(error).split())) from error
