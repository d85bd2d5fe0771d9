"""The order in which a function's nodes can be made again."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any


def in_order(nodes: Any, results: Sequence[str]) -> list[Any]:
    """The nodes that the results need, each after what it reads, else as they were made.

    Args:
      nodes: the `NodeDef`s of a `FunctionDef`, in the order of its text.
      results: references such as `node:output:0`, or names of arguments.
    """
    by_name = {node.name: (index, node) for index, node in enumerate(nodes)}
    readers: dict[str, list[str]] = {}
    waits: dict[str, int] = {}
    wanted = [reference.partition(":")[0] for reference in results]
    while wanted:
        name = wanted.pop()
        if name in waits or name not in by_name:
            continue
        node = by_name[name][1]
        sources = {each.partition(":")[0] for each in node.input if not each.startswith("^")}
        sources = {each for each in sources if each in by_name}
        wanted.extend(sources)
        # The way back of a loop of TensorFlow 1 orders nothing.
        sources = {each for each in sources if by_name[each][1].op != "NextIteration"}
        waits[name] = len(sources)
        for each in sources:
            readers.setdefault(each, []).append(name)
    ready = [by_name[name][0] for name, count in waits.items() if count == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        ordered.append(node)
        for name in readers.get(node.name, ()):
            waits[name] -= 1
            if waits[name] == 0:
                heapq.heappush(ready, by_name[name][0])
    return ordered
