"""Which of a host's GPUs a worker process sees."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_LOG = logging.getLogger(__name__)

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"

_DEVICE_FILE = re.compile(r"nvidia(\d+)")


def visible_devices(
    environment: Mapping[str, str] = os.environ, device_folder: str = "/dev"
) -> tuple[str, ...]:
    """The NVIDIA devices that this process may use, as `CUDA_VISIBLE_DEVICES` names them.

    Starts no driver. Parts of devices (MIG) are known only where that variable lists them.
    """
    given = environment.get(VISIBLE_DEVICES)
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        # As CUDA reads it: what follows the first name that is none does not count.
        valid = [bool(name) and name != "-1" for name in names]
        return tuple(names[: valid.index(False)] if False in valid else names)
    found = map(_DEVICE_FILE.fullmatch, os.listdir(Path(device_folder)))
    return tuple(map(str, sorted(int(match[1]) for match in found if match)))


class DeviceShares:
    """Deals devices out, so many to each worker, the longest unused share first."""

    def __init__(self, devices: Sequence[str], per_worker: int) -> None:
        """Cuts the devices into shares.

        Raises:
          ValueError: they cannot be cut so.
        """
        if not devices or len(devices) % per_worker:
            raise ValueError(
                f"expected NVIDIA devices in shares of {per_worker}. Received: "
                f"{', '.join(devices) or 'none'}. List them in {VISIBLE_DEVICES}, or choose "
                "another --pin_devices.")
        self._shares = [
            tuple(devices[start : start + per_worker])
            for start in range(0, len(devices), per_worker)
        ]
        self._users = dict.fromkeys(self._shares, 0)
        self._lock = threading.Lock()

    def take(self) -> tuple[str, ...]:
        """A share with the fewest users; more workers than shares must share one."""
        with self._lock:
            share = min(self._shares, key=self._users.__getitem__)
            self._users[share] += 1
            users = self._users[share]
            self._shares.remove(share)
            self._shares.append(share)
        if users > 1:
            _LOG.warning(
                "devices %s now have %d worker processes; set --sdk_worker_parallelism so that "
                "each has its own", ",".join(share), users)
        return share

    def give_back(self, share: tuple[str, ...]) -> None:
        """Counts one user less."""
        with self._lock:
            self._users[share] -= 1
