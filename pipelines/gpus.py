"""GPUs of a cloud's machines: `--gpus nvidia-l4:4`, and which machine types have them."""

from __future__ import annotations

import re
from typing import NamedTuple

# By accelerator: what its machine types begin with, and one for each count of GPUs.
_N1 = {1: "n1-standard-8", 2: "n1-standard-16", 4: "n1-standard-32"}
_MACHINES: dict[str, tuple[str, dict[int, str]]] = {
    "nvidia-l4": (
        "g2-",
        {1: "g2-standard-12", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"},
    ),
    "nvidia-tesla-t4": ("n1-", _N1),
    "nvidia-tesla-p4": ("n1-", _N1),
    "nvidia-tesla-p100": ("n1-", _N1),
    "nvidia-tesla-v100": ("n1-", _N1 | {8: "n1-standard-64"}),
    "nvidia-tesla-a100": (
        "a2-",
        {count: f"a2-highgpu-{count}g" for count in (1, 2, 4, 8)} | {16: "a2-megagpu-16g"},
    ),
    "nvidia-a100-80gb": (
        "a2-ultragpu-",
        {count: f"a2-ultragpu-{count}g" for count in (1, 2, 4, 8)},
    ),
    "nvidia-h100-80gb": (
        "a3-highgpu-",
        {count: f"a3-highgpu-{count}g" for count in (1, 2, 4, 8)},
    ),
    "nvidia-h100-mega-80gb": ("a3-megagpu-", {8: "a3-megagpu-8g"}),
}

# GPUs of G2 machines, which their names do not tell; the others have one.
_G2_COUNTS = {24: 2, 48: 4, 96: 8}

_GPUS = re.compile(r"([a-z][a-z0-9-]*)(?::([1-9][0-9]*))?", re.ASCII)


class Gpus(NamedTuple):
    """GPUs of each worker machine, by the cloud's name for their kind."""

    kind: str
    per_worker: int

    def __str__(self) -> str:
        """As on the command line."""
        return f"{self.kind}:{self.per_worker}"


def parse_gpus(text: str) -> Gpus:
    """`nvidia-l4:4`; without a number, one.

    Raises:
      ValueError: it is not of that form.
    """
    match = _GPUS.fullmatch(text)
    if match is None:
        raise ValueError(f"expected KIND:COUNT, such as nvidia-l4:4. Received: {text!r}.")
    return Gpus(match[1], int(match[2] or 1))


def machine_for(gpus: Gpus, machine: str | None) -> str:
    """The machine type for these GPUs: the given one where it can have them, else our choice.

    Args:
      gpus: of each machine.
      machine: the type that the user asks for, if any.

    Raises:
      ValueError: no such machine is known, or the given one has other GPUs.
    """
    known = _MACHINES.get(gpus.kind)
    if known is None:
        if machine is None:
            raise ValueError(
                f"expected --machine_type beside --gpus {gpus}: no machine is known for this "
                f"kind of GPU. Received: none. Pass one that has it; known without: "
                f"{', '.join(_MACHINES)}."
            )
        return machine
    start, machines = known
    if gpus.per_worker not in machines:
        counts = ", ".join(map(str, machines))
        raise ValueError(
            f"expected a number of {gpus.kind} that one machine has: {counts}. "
            f"Received: --gpus {gpus}."
        )
    if machine is None:
        return machines[gpus.per_worker]
    built_in = _built_in_gpus(machine)
    if not machine.startswith(start) or built_in not in (None, gpus.per_worker):
        raise ValueError(
            f"expected a machine type with {gpus.per_worker} {gpus.kind}, such as "
            f"{machines[gpus.per_worker]}. Received: --machine_type {machine}. Leave it "
            "out, or change --gpus."
        )
    return machine


def _built_in_gpus(machine: str) -> int | None:
    """How many GPUs a machine type comes with; None where they are attached to it."""
    match = re.fullmatch(r"a[0-9]+-[a-z]+-([0-9]+)g", machine)
    if match is not None:
        return int(match[1])
    match = re.fullmatch(r"g2-standard-([0-9]+)", machine)
    return None if match is None else _G2_COUNTS.get(int(match[1]), 1)
