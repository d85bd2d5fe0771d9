"""What tensors ask of TensorFlow's allocator, which is less than the chunks that it gives them."""

from __future__ import annotations

import collections
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def asked_bytes(run: Callable[[], Any]) -> int:
    """The most bytes at once that a call asks for, on top of what is there before it.

    It is read from a profile, in which the allocator reports every allocation; where there are
    several allocators, the one with the most counts. The one of the CPU does not report
    allocations below 256 KiB.

    Args:
      run: returns when it is done.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
        with tf.profiler.experimental.Profile(folder, options):
            run()
        (file,) = Path(folder).rglob("*.xplane.pb")
        events = sorted(_memory_events(file.read_bytes()), key=lambda event: event[0])
    live: dict[tuple[str, int], int] = {}
    now: collections.Counter[str] = collections.Counter()
    peak = 0
    for _, kind, allocator, address, size_bytes in events:
        if kind == "MemoryAllocation":
            live[allocator, address] = size_bytes
            now[allocator] += size_bytes
            peak = max(peak, now[allocator])
        else:
            now[allocator] -= live.pop((allocator, address), 0)
    return peak


def _memory_events(profile: bytes) -> list[tuple[int, str, str, int, int]]:
    """Time, kind, allocator, address and bytes of every allocation and deallocation."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    space = XSpace.FromString(profile)
    found = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                kind = plane.event_metadata[event.metadata_id].name
                if kind not in ("MemoryAllocation", "MemoryDeallocation"):
                    continue
                figures = {plane.stat_metadata[stat.metadata_id].name: stat for stat in event.stats}
                name = figures["allocator_name"]
                found.append(
                    (
                        line.timestamp_ns * 1000 + event.offset_ps,
                        kind,
                        name.str_value or plane.stat_metadata[name.ref_value].name,
                        _number(figures["addr"]),
                        _number(figures["requested_bytes"]),
                    )
                )
    return found


def _number(stat: Any) -> int:
    return int(getattr(stat, stat.WhichOneof("value")))
