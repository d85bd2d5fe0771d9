"""What a traced function does, as a list of operations and the bytes that they make."""

from __future__ import annotations

import collections
import dataclasses
from typing import NamedTuple


class Value(NamedTuple):
    """A tensor, or the variable behind a handle.

    Attributes:
      name: of its own within one replay.
      size_bytes: what it takes. Where only running tells a dimension, the first such counts as
        the rows and every other as one.
      on_host: a string; no GPU holds it.
      is_variable: it stays, whoever reads it.
    """

    name: str
    size_bytes: int
    on_host: bool = False
    is_variable: bool = False


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation, or a whole loop.

    Attributes:
      kind: TensorFlow's name for it.
      inputs: names of the values that it reads.
      outputs: what it makes. A list that a loop fills has the bytes of all its items.
      body: what one turn of a loop does. Its arguments and results go with each other.
      ahead: how many turns TensorFlow may have under way.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    body: Recording | None = None
    ahead: int = 1


@dataclasses.dataclass(frozen=True)
class Recording:
    """What a function does.

    Attributes:
      arguments: what it is given, as far as it is read.
      operations: in an order in which they can run, without those that no result needs.
      results: names of the values it gives.
    """

    arguments: tuple[Value, ...]
    operations: tuple[Operation, ...]
    results: tuple[str, ...]


def breadth_first(recording: Recording) -> Recording:
    """The same work in the order of an executor, which takes up first what was ready first."""
    operations = recording.operations
    makers = {value.name: index for index, made in enumerate(operations) for value in made.outputs}
    sources = [{makers[name] for name in each.inputs if name in makers} for each in operations]
    readers: list[list[int]] = [[] for _ in operations]
    for index, needed in enumerate(sources):
        for source in needed:
            readers[source].append(index)
    waits = [len(needed) for needed in sources]
    ready = collections.deque(index for index, count in enumerate(waits) if count == 0)
    ordered = []
    while ready:
        index = ready.popleft()
        ordered.append(operations[index])
        for reader in readers[index]:
            waits[reader] -= 1
            if waits[reader] == 0:
                ready.append(reader)
    return dataclasses.replace(recording, operations=tuple(ordered))
