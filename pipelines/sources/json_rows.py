"""JSON objects, one a line, as record batches of planned types."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.json as pj

from transforms.engine.stage_times import DECODE, STAGE_TIMES

# Deeper values are no data, and whatever looks at their types calls itself as often.
MAX_DEPTH = 64

_MISFITS = (pa.ArrowException, ValueError, TypeError, OverflowError)


class LineError(NamedTuple):
    """A line that gives no row: its position, and why."""

    position: int
    message: str


@STAGE_TIMES.timed(DECODE)
def parse_lines(
    lines: Sequence[bytes], schema: pa.Schema
) -> tuple[pa.RecordBatch, list[LineError]]:
    """Parses lines into columns.

    Args:
      lines: each without surrounding white space, none empty.
      schema: the columns wanted. A member that a line lacks is null there, others are
        passed over.

    Returns:
      A batch of the sound lines, in order, and an error for each other.
    """
    batches: list[pa.RecordBatch] = []
    errors: list[LineError] = []
    # Arrow's parser never returns from a text of nothing.
    ranges = [(0, len(lines))] if lines else []
    while ranges:
        start, stop = ranges.pop()
        try:
            batches += _parse(lines[start:stop], schema)
        except pa.ArrowInvalid as error:
            if stop - start == 1:
                errors.append(LineError(start, _message(error)))
            else:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    whole = table.to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
    return whole[0], errors


def _parse(lines: Sequence[bytes], schema: pa.Schema) -> list[pa.RecordBatch]:
    # Between lines like these a value cannot go on, so that rows and lines are the same
    # where their numbers are.
    if not all(line.startswith(b"{") and line.endswith(b"}") for line in lines):
        raise pa.ArrowInvalid("it is no object")
    text = b"\n".join(lines)
    table = pj.read_json(
        pa.BufferReader(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pj.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore", newlines_in_values=False
        ),
    )
    if table.num_rows != len(lines):
        raise pa.ArrowInvalid("it has something behind the object")
    table.validate(full=True)
    return table.select(schema.names).to_batches()


def _message(error: pa.ArrowInvalid) -> str:
    problem = re.sub(r"^JSON parse error: |\.? in row \d+$", "", str(error).strip())
    return f"expected a JSON object of the planned types. Received: {problem.rstrip('.')}."


def load_objects(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """The objects on some lines; lines with anything else, or nested too deep, are left out."""
    objects = []
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and not _is_too_deep(line, value):
            objects.append(value)
    return objects


def _is_too_deep(line: bytes, value: Any) -> bool:
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, (dict, list))
        ]
    return bool(level)


def infer_schema(objects: Sequence[dict[str, Any]]) -> pa.Schema:
    """Columns for all members, in the order in which they come up.

    A member's type is the one that all its values have; where there is none, that of most.
    Integers beside floats are floats. Members that are always null are strings; those whose
    names are no Unicode are left out.
    """
    names = dict.fromkeys(name for row in objects for name in row if _is_text(name))
    values = ([row[name] for row in objects if row.get(name) is not None] for name in names)
    return pa.schema(
        [(name, _settled(_common_type(column))) for name, column in zip(names, values, strict=True)]
    )


def _is_text(name: str) -> bool:
    """Whether a name has no lone surrogate, which JSON can escape and no column can have."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _common_type(values: list[Any]) -> pa.DataType:
    by_kind: dict[type, list[Any]] = collections.defaultdict(list)
    for value in values:
        by_kind[float if type(value) is int else type(value)].append(value)
    if not by_kind:
        return pa.null()
    kind, most = max(by_kind.items(), key=lambda item: len(item[1]))
    try:
        return pa.array(most).type
    except _MISFITS:
        if kind is float:
            # Integers that int64 or, beside floats, float64 cannot hold.
            return pa.float64()
        types = collections.Counter(filter(None, map(_own_type, most)))
        return types.most_common(1)[0][0] if types else pa.string()


def _own_type(value: Any) -> pa.DataType | None:
    try:
        return pa.array([value]).type
    except _MISFITS:
        return None


def _settled(kind: pa.DataType) -> pa.DataType:
    """The type with strings in place of what had no value to tell."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_settled(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_settled(field.type)) for field in kind])
    return kind
