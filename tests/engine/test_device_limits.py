"""What a replica may take: of the host, of control groups around the process, of a GPU."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.processes import python, run_program
from transforms.engine.device_limits import (
    cpu_limit_bytes,
    gpu_limit_bytes,
    limit_bytes,
    places_of,
)
from transforms.engine.host_memory import GroupMemory, free_memory_bytes, limiting_groups
from transforms.engine.replicas import open_replicas

GIB = 1 << 30


def write(root: Path, files: dict[str, object]) -> Path:
    """Makes files below a folder that stands for the root of a host."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def meminfo(available_gib: int) -> str:
    return f"MemTotal: {64 << 20} kB\nMemFree: 1 kB\nMemAvailable:   {available_gib << 20} kB"


def test_a_host_without_groups(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/meminfo": meminfo(10)})
    assert limiting_groups(root) == []
    assert free_memory_bytes(root) == 10 * GIB


def test_version_2_counts_every_group_around_the_process(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": meminfo(10),
            "proc/self/cgroup": "0::/jobs/one",
            "sys/fs/cgroup/jobs/one/memory.max": "max",
            "sys/fs/cgroup/jobs/one/memory.current": 1 * GIB,
            "sys/fs/cgroup/jobs/memory.max": 6 * GIB,
            "sys/fs/cgroup/jobs/memory.current": 3 * GIB,
            "sys/fs/cgroup/jobs/memory.stat": f"anon 5\ninactive_file {1 * GIB}\nactive_file 7",
        },
    )
    assert limiting_groups(root) == [GroupMemory(6 * GIB, 2 * GIB)]
    assert free_memory_bytes(root) == 4 * GIB


def test_version_1_and_its_number_for_no_limit(tmp_path: Path) -> None:
    v1 = "sys/fs/cgroup/memory"
    root = write(
        tmp_path,
        {
            "proc/meminfo": meminfo(10),
            "proc/self/cgroup": "9:name=systemd:/x\n5:cpu,memory:/docker/abc\n0::/ignored",
            f"{v1}/docker/abc/memory.limit_in_bytes": 2 * GIB,
            f"{v1}/docker/abc/memory.usage_in_bytes": 1 * GIB,
            f"{v1}/docker/abc/memory.stat": f"total_inactive_file {GIB // 2}",
            f"{v1}/memory.limit_in_bytes": 9223372036854771712,
            f"{v1}/memory.usage_in_bytes": 50 * GIB,
        },
    )
    assert limiting_groups(root) == [GroupMemory(2 * GIB, GIB // 2)]
    assert free_memory_bytes(root) == 2 * GIB - GIB // 2


@pytest.mark.parametrize("path", ["/kubepods/pod1/box", "/../../kubepods/pod1/box"])
def test_a_container_sees_its_own_group_as_the_mounted_root(tmp_path: Path, path: str) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": meminfo(10),
            "proc/self/cgroup": f"0::{path}",
            "sys/fs/cgroup/memory.max": 3 * GIB,
            "sys/fs/cgroup/memory.current": 1 * GIB,
        },
    )
    assert free_memory_bytes(root) == 2 * GIB


def test_a_group_that_is_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": meminfo(10),
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": 1 * GIB,
            "sys/fs/cgroup/memory.current": 2 * GIB,
        },
    )
    assert free_memory_bytes(root) == 0


def test_this_machine_can_be_read() -> None:
    assert 0 < free_memory_bytes() < 1 << 50


def test_replicas_share_half_of_the_cpus_memory() -> None:
    assert cpu_limit_bytes(free_bytes=10 * GIB, held_bytes=2 * GIB, replicas=3) == 2 * GIB


@pytest.mark.usefixtures("logical_cpus")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_limit_of_logical_cpus(tmp_path: Path, count: int) -> None:
    root = write(tmp_path, {"proc/meminfo": meminfo(30)})
    found = limit_bytes(open_replicas([f"CPU:{index}" for index in range(count)]), root=root)
    # What other tests left in this process is its own as well.
    assert 15 * GIB // count <= found <= 16 * GIB // count


def test_a_gpu_gives_what_is_free_and_what_is_held_already() -> None:
    def limit(**changed: int) -> int:
        figures = {
            "allocator_bytes": 70 * GIB,
            "free_bytes": 40 * GIB,
            "held_bytes": 8 * GIB,
            "sharers": 1,
            "reserve_bytes": 4 * GIB,
        }
        return gpu_limit_bytes(**(figures | changed))

    assert limit() == 44 * GIB
    assert limit(allocator_bytes=20 * GIB) == 20 * GIB
    assert limit(sharers=4) == 8 * GIB + 9 * GIB
    # Another tenant has taken the rest: what is held stays.
    assert limit(free_bytes=1 * GIB) == 8 * GIB


def test_logical_gpus_are_found_on_their_physical_ones() -> None:
    assert places_of([1, 3], [2, 1]) == [(1, 2), (1, 2), (3, 1)]


# Two GPUs of one CUDA process, which the driver's other library lists in another order: the
# stand-ins have the real functions' signatures and say only what is asked of them.
CUDA = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 40; return ordinal > 1; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    memset(uuid, device == 40 ? 0xaa : 0xbb, 16);
    return 0;
}
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) {
    *bytes = device == 40 ? 10000000000ul : 80000000000ul;
    return 0;
}
"""
NVML = """
#include <string.h>
struct memory { unsigned long long total, free, used; };
static int open = 0;
int nvmlInit_v2(void) { open++; return 0; }
int nvmlShutdown(void) { open--; return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    if (!open) return 1;
    if (!strcmp(uuid, "MIG-aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa")) *handle = (void *)0x700000000001;
    else if (!strcmp(uuid, "GPU-bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb"))
        *handle = (void *)0x700000000002;
    else return 6;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) {
    if (!open) return 1;
    memory->total = handle == (void *)0x700000000001 ? 10000000000ull : 80000000000ull;
    memory->free = memory->total / 4;
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_gpu_is_found_by_its_identity(tmp_path: Path) -> None:
    for name, source in {"libcuda.so.1": CUDA, "libnvidia-ml.so.1": NVML}.items():
        file = tmp_path / f"{name}.c"
        file.write_text(source)
        command = ["cc", "-shared", "-fPIC", "-w", "-o", str(tmp_path / name), str(file)]
        run_program(command)
    program = (
        "from transforms.engine.gpu_memory import free_memory_bytes, total_memory_bytes\n"
        "print(total_memory_bytes(0), free_memory_bytes(0), total_memory_bytes(1),"
        " free_memory_bytes(1))\n"
        "try:\n    total_memory_bytes(2)\nexcept OSError as error:\n    print(error)"
    )
    done = python("-c", program, env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)})
    figures, error = done.stdout.splitlines()
    assert figures == "10000000000 2500000000 80000000000 20000000000"
    assert error == "expected cuDeviceGet to succeed. Received: status 1 from the driver."
