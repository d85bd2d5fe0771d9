"""Where found batch sizes are kept, so that the next worker and the next job start with them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from transforms.engine.gpu_memory import total_memory_bytes
from transforms.engine.replicas import Replicas
from transforms.engine.signature import TensorField

if TYPE_CHECKING:
    from transforms.engine.opening import PredictorConfig

_LOG = logging.getLogger(__name__)


class TuningStore(Protocol):
    """Keeps what was found for a key, or has nothing."""

    def load(self, key: str) -> dict[str, Any] | None:
        """What was saved under the key; None without it."""

    def save(self, key: str, found: Mapping[str, Any]) -> None:
        """Keeps what was found."""


class LocalTuningStore:
    """A folder of this machine with one JSON file per key."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    def load(self, key: str) -> dict[str, Any] | None:
        """What was saved under the key; None without it, or where it cannot be read."""
        path = self._folder / f"{key}.json"
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _LOG.warning("%s cannot be read, tuning anew: %s", path, error)
            return None
        return found if isinstance(found, dict) else None

    def save(self, key: str, found: Mapping[str, Any]) -> None:
        """Writes the file at once or not at all; a folder that cannot be written is logged."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False) as file:
                json.dump(dict(found), file)
            os.replace(file.name, self._folder / f"{key}.json")
        except OSError as error:
            _LOG.warning("the batch size found cannot be kept in %s: %s", self._folder, error)


def user_store() -> LocalTuningStore:
    """The store of this user on this machine, in the cache folder that XDG names."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return LocalTuningStore(Path(cache) / "mirrorbeam" / "tuning")


class MeasuredRate(Protocol):
    """A batch size and how fast it was."""

    @property
    def rows(self) -> int:
        """The global batch."""

    @property
    def rows_per_second(self) -> float:
        """Its rate."""


def predictor_tuning_key(
    config: PredictorConfig,
    model_digest: str,
    model_inputs: Sequence[TensorField],
    replicas: Replicas,
) -> str:
    """The name under which the batch size of a predictor is kept, whoever found it.

    Args:
      config: what the predictor is opened with. Limits and `rows` are no part of the name.
      model_digest: of the model's content.
      model_inputs: what the model takes, as loaded.
      replicas: where it runs.
    """
    fields = config.fields
    if fields is None and config.preprocess is None:
        fields = tuple(model_inputs)
    return tuning_key(
        {
            "model": model_digest,
            "signature": config.model.signature,
            "preprocess": config.preprocess_digest,
            "precision": config.precision,
            "xla": config.xla,
            "fields": fields,
        }
        # Sizes that were found before there was a choice stay in use.
        | ({"dispatch": config.dispatch} if config.dispatch != "mirrored" else {}),
        replicas,
    )


def tuning_key(parts: Mapping[str, Any], replicas: Replicas) -> str:
    """A name for everything that a batch size depends on.

    Args:
      parts: of the model: its digest, signature, preprocessing, precision and so on.
      replicas: where it runs; their number, kind, make and memory count, and TensorFlow's
        version.
    """
    import tensorflow as tf

    device = describe_device(replicas)
    text = json.dumps(
        {
            **{name: str(value) for name, value in parts.items()},
            "replicas": replicas.count,
            "device": device,
            "tensorflow": tf.__version__,
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def describe_device(replicas: Replicas) -> str:
    """Make and size of one replica's device, as far as the machine tells."""
    import tensorflow as tf

    if replicas.kind == "CPU":
        return f"CPU, {os.cpu_count()} cores"
    physical = tf.config.list_physical_devices("GPU")[0]
    name = tf.config.experimental.get_device_details(physical).get("device_name", "GPU")
    cut = tf.config.get_logical_device_configuration(physical) or [None]
    return f"{name}, {_gpu_memory()}, cut into {len(cut)}"


def _gpu_memory() -> str:
    try:
        return f"{total_memory_bytes(0) >> 30} GiB"
    except OSError:
        # Some containers have no management library; the device's make has to do.
        return "memory unknown"


def load_rows(stores: Sequence[TuningStore], key: str) -> int | None:
    """The batch size that the first store with one has; None where none has."""
    for store in stores:
        found = store.load(key)
        rows = found.get("rows") if found else None
        if isinstance(rows, int) and rows > 0:
            return rows
    return None


def save_rows(
    stores: Sequence[TuningStore], key: str, rows: int, measured: Iterable[MeasuredRate] = ()
) -> None:
    """Tells every store of a size, with the rates that were seen."""
    found = {
        "rows": rows,
        "rates": {str(size.rows): round(size.rows_per_second, 3) for size in measured},
    }
    for store in stores:
        store.save(key, found)
