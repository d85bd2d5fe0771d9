"""How much memory a GPU has, from the driver's own libraries."""

from __future__ import annotations

import contextlib
import ctypes
import uuid
from collections.abc import Iterator

_NOT_FOUND = 6


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def total_memory_bytes(ordinal: int) -> int:
    """Bytes of memory that a GPU has in all, whoever uses it; asks CUDA alone.

    Args:
      ordinal: CUDA's number of it, which is TensorFlow's too: its place among the devices that
        `CUDA_VISIBLE_DEVICES` leaves to the process.

    Raises:
      OSError: a library of the NVIDIA driver is missing or refuses.
    """
    library, device = _cuda_device(ordinal)
    total = ctypes.c_size_t()
    _check("cuDeviceTotalMem", library.cuDeviceTotalMem_v2(ctypes.byref(total), device))
    return int(total.value)


def free_memory_bytes(ordinal: int) -> int:
    """Bytes of memory that no process holds on a GPU just now.

    Args:
      ordinal: as for `total_memory_bytes`.

    Raises:
      OSError: a library of the NVIDIA driver is missing or refuses.
    """
    identity = _identity(ordinal)
    memory = _Memory()
    with _management_library() as library:
        handle = _handle(library, identity)
        _check(
            "nvmlDeviceGetMemoryInfo", library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        )
    return int(memory.free)


def _cuda_device(ordinal: int) -> tuple[ctypes.CDLL, ctypes.c_int]:
    library = ctypes.CDLL("libcuda.so.1")
    _check("cuInit", library.cuInit(0))
    device = ctypes.c_int()
    _check("cuDeviceGet", library.cuDeviceGet(ctypes.byref(device), ctypes.c_int(ordinal)))
    return library, device


def _identity(ordinal: int) -> uuid.UUID:
    """The device's UUID, the only name that CUDA and the management library share.

    CUDA numbers the visible devices, fastest first unless told otherwise; the management library
    numbers all of them by bus. A slice of a GPU (MIG) has a UUID of its own.
    """
    library, device = _cuda_device(ordinal)
    identity = (ctypes.c_ubyte * 16)()
    _check("cuDeviceGetUuid", library.cuDeviceGetUuid_v2(ctypes.byref(identity), device))
    return uuid.UUID(bytes=bytes(identity))


def _handle(library: ctypes.CDLL, identity: uuid.UUID) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    for kind in ("GPU", "MIG"):
        name = f"{kind}-{identity}".encode()
        status = library.nvmlDeviceGetHandleByUUID(ctypes.c_char_p(name), ctypes.byref(handle))
        if status != _NOT_FOUND:
            break
    _check("nvmlDeviceGetHandleByUUID", status)
    return handle


@contextlib.contextmanager
def _management_library() -> Iterator[ctypes.CDLL]:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    _check("nvmlInit", library.nvmlInit_v2())
    try:
        yield library
    finally:
        library.nvmlShutdown()


def _check(call: str, status: int) -> None:
    if status != 0:
        raise OSError(f"expected {call} to succeed. Received: status {status} from the driver.")
