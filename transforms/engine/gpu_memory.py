"""How much memory a GPU has, from the driver's own library."""

from __future__ import annotations

import ctypes


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def total_memory_bytes(index: int) -> int:
    """Bytes of memory that GPU `index` has in all, whoever uses it.

    Raises:
      OSError: the NVIDIA driver's management library is missing or refuses.
    """
    return int(_memory(index).total)


def free_memory_bytes(index: int) -> int:
    """Bytes of memory that no process holds on GPU `index` just now.

    Raises:
      OSError: the NVIDIA driver's management library is missing or refuses.
    """
    return int(_memory(index).free)


def _memory(index: int) -> _Memory:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    _check(library.nvmlInit_v2(), "nvmlInit")
    try:
        handle = ctypes.c_void_p()
        _check(
            library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)),
            "nvmlDeviceGetHandleByIndex",
        )
        memory = _Memory()
        _check(
            library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)),
            "nvmlDeviceGetMemoryInfo",
        )
        return memory
    finally:
        library.nvmlShutdown()


def _check(status: int, call: str) -> None:
    if status != 0:
        raise OSError(f"expected {call} to succeed. Received: NVML status {status}.")
