"""What a step needs, told from its trace alone: what lives while each operation runs.

It goes through the operations in order, adds what each makes and lets go of what nothing reads
any more. Identities and reshapes copy nothing, and elementwise operations write into their input
where they are its last reader, as TensorFlow's kernels do.

Known to be off: work space inside kernels (cuDNN, oneDNN) is not in it, nor is the text of strings;
tensors of a size that only their values tell (ragged rows, boolean masks, loops that turn until a
condition holds) count as one entry a row; loops of TensorFlow 1 count as one turn. Branches that
run at the same time are taken one operation after the other: where several are wide, as in
Inception, up to a fifth is missing.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transforms.engine.memory import MemoryFit, fit
from transforms.engine.operation_kinds import ALIASES, IN_PLACE, KEPT, LIST_WRITES
from transforms.engine.recording import Operation, Recording, Value, breadth_first
from transforms.engine.replay import record

if TYPE_CHECKING:
    from transforms.engine.step import Step

# TensorFlow's allocator gives whole chunks: 0 to 40 % more than asked for, 7 % on average.
CHUNK_SHARE = 1.07
# Of the turns of a loop that may be under way ahead of their time, so many are, as a rule.
_UNDER_WAY = 0.75
# A number that a loop counts in.
_COUNTER_BYTES = 8
# So many that what the rows take outweighs what a step takes for itself.
_ROWS = (1024, 2048)


def static_fit(step: Step, row_shapes: Mapping[str, tuple[int, ...]], kind: str) -> MemoryFit:
    """Bytes that a replica's rows need, without running them.

    Args:
      step: traced.
      row_shapes: the shape of one row of each column of the step; all dimensions known.
      kind: `GPU` or `CPU`, where it is to run.

    Raises:
      ValueError: TensorFlow refuses these shapes.
    """
    shapes = [row_shapes[field.name] for field in step.fields]
    points = []
    for rows in _ROWS:
        recording = record(step.function, shapes, rows, len(step.outputs))
        orders = (recording, breadth_first(recording))
        points.append((rows, max(peak_bytes_of(order, kind) for order in orders)))
    asked = fit(points)
    return MemoryFit(asked.fixed_bytes, asked.bytes_per_row * CHUNK_SHARE)


def peak_bytes_of(recording: Recording, kind: str = "CPU") -> int:
    """The most bytes that live at once.

    Args:
      recording: its order is the order of running.
      kind: on a `CPU` whoever calls holds the arguments and strings count; on a `GPU` arguments
        are copies that go with their last reader, and strings stay on the host.
    """
    return _Walk(recording, kind).peak_bytes


class _Walk:
    """One pass over a recording, with the buffers behind its values."""

    def __init__(self, recording: Recording, kind: str, inside: bool = False) -> None:
        self._kind = kind
        self._live_bytes = 0
        self._sizes: list[int] = []
        self._reads: list[float] = []
        self._owned: dict[str, tuple[int, ...]] = {}
        self._uses = collections.Counter(
            name for operation in recording.operations for name in operation.inputs
        )
        self._uses.update(recording.results)
        for value in recording.arguments:
            # Inside a loop the arguments are buffers of the one around it.
            held = inside or value.is_variable or kind == "CPU"
            self._make(value, 0 if inside else self._bytes(value), held)
        self.peak_bytes = self._live_bytes
        loop_bytes = _loop_bytes(recording, kind)
        for index, operation in enumerate(recording.operations):
            self._run(operation, loop_bytes.get(index, 0))
            self._let_go(operation)

    def _run(self, operation: Operation, inside_bytes: int) -> None:
        outputs = operation.outputs
        if operation.kind in LIST_WRITES:
            places = LIST_WRITES[operation.kind]
            shared = [place for index in places for place in self._owned[operation.inputs[index]]]
            self._share(outputs[0], tuple(dict.fromkeys(shared)))
            outputs = ()
        elif operation.kind in ALIASES:
            for index, value in enumerate(outputs):
                source = operation.inputs[index if operation.kind == "IdentityN" else 0]
                self._share(value, self._owned[source])
            outputs = ()
        elif operation.kind in IN_PLACE and (place := self._last_read(operation)) is not None:
            self._share(outputs[0], (place,))
            outputs = outputs[1:]
        for value in outputs:
            self._make(value, self._bytes(value), operation.kind in KEPT)
        self.peak_bytes = max(self.peak_bytes, self._live_bytes + inside_bytes)

    def _let_go(self, operation: Operation) -> None:
        for value in operation.outputs:
            if not self._uses[value.name]:
                for place in self._owned[value.name]:
                    self._free_if_unread(place)
        for name in operation.inputs:
            for place in self._owned[name]:
                self._reads[place] -= 1
                self._free_if_unread(place)

    def _last_read(self, operation: Operation) -> int | None:
        """The buffer that an operation may write into."""
        for name in operation.inputs:
            (place, *others) = self._owned[name]
            if (
                not others
                and self._reads[place] == operation.inputs.count(name)
                and self._sizes[place] == self._bytes(operation.outputs[0]) > 0
            ):
                return place
        return None

    def _make(self, value: Value, size_bytes: int, held: bool) -> None:
        self._owned[value.name] = (len(self._sizes),)
        self._sizes.append(size_bytes)
        self._reads.append(math.inf if held else self._uses[value.name])
        self._live_bytes += size_bytes

    def _share(self, value: Value, places: tuple[int, ...]) -> None:
        self._owned[value.name] = places
        for place in places:
            self._reads[place] += self._uses[value.name]

    def _free_if_unread(self, place: int) -> None:
        if self._reads[place] == 0:
            self._live_bytes -= self._sizes[place]
            self._reads[place] = math.inf

    def _bytes(self, value: Value) -> int:
        return 0 if value.on_host and self._kind == "GPU" else value.size_bytes


def _loop_bytes(recording: Recording, kind: str) -> dict[int, int]:
    """By the place of a loop, what lives in it and in those that run at the same time."""
    before: dict[str, frozenset[int]] = {}
    inside: dict[int, int] = {}
    waited: dict[int, frozenset[int]] = {}
    for index, operation in enumerate(recording.operations):
        loops = frozenset[int]().union(*(before.get(name, ()) for name in operation.inputs))
        if operation.body is not None:
            turn_bytes = _Walk(operation.body, kind, inside=True).peak_bytes
            ahead_bytes = _UNDER_WAY * (operation.ahead - 1) * run_ahead_bytes(operation.body)
            inside[index], waited[index] = turn_bytes + round(ahead_bytes), loops
            loops |= {index}
        if loops:
            before.update({value.name: loops for value in operation.outputs})
    return {
        index: sum(
            size
            for other, size in inside.items()
            if other not in waited[index] and index not in waited[other]
        )
        for index in inside
    }


def run_ahead_bytes(body: Recording) -> int:
    """Bytes that one more turn of a loop makes before its turn comes.

    TensorFlow starts as many as 32 turns at once; each goes as far as it can without the
    results of the turn before.
    """
    same = {value.name: value.name for value in body.arguments}
    for operation in body.operations:
        if operation.kind in ("Identity", "IdentityN"):
            for name, value in zip(operation.inputs, operation.outputs, strict=False):
                same[value.name] = same.get(name, value.name)
    # What stays as it is, and counters, which go ahead of what they count.
    free = {
        value.name
        for value, result in zip(body.arguments, body.results, strict=True)
        if same.get(result) == value.name or 0 < value.size_bytes <= _COUNTER_BYTES
    }
    known = _known_from(free, body)
    made = {
        value.name: value.size_bytes
        for operation in body.operations
        if operation.kind not in ALIASES and operation.kind not in KEPT
        for value in operation.outputs
        if value.name in known
    }
    waiting = {
        name
        for operation in body.operations
        if operation.kind not in LIST_WRITES and not known.issuperset(operation.inputs)
        for name in operation.inputs
    }
    return sum(size for name, size in made.items() if name in waiting)


def _known_from(names: set[str], body: Recording) -> set[str]:
    known = set(names)
    for operation in body.operations:
        if known.issuperset(operation.inputs):
            known.update(value.name for value in operation.outputs)
    return known
