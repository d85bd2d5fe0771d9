"""Arrow columns as JSON text, one text a row, made by Arrow's kernels and not row by row.

| Arrow | JSON |
|---|---|
| integers, decimals, durations (in their unit) | number |
| floats | the shortest number that reads back as the same float; NaN and infinities are null |
| bool, null | true, false, null |
| strings, and bytes that are UTF-8 | string |
| other bytes | `{"b64": "…"}`, as TensorFlow Serving has it |
| timestamps, dates, times | ISO 8601 string |
| lists, also fixed-size ones | array |
| structs, maps | object |
"""

from __future__ import annotations

import base64
import json

import pyarrow as pa
import pyarrow.compute as pc

_NULL = pa.scalar("null", pa.string())
_NO_SEPARATOR = pa.scalar("", pa.string())
_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_IS_WHOLE = "^-?[0-9]+$"


def json_refusal(data_type: pa.DataType) -> str | None:
    """Why columns of a plain type have no JSON text; None where they have."""
    types = pa.types
    if types.is_struct(data_type):
        reasons = [json_refusal(field.type) for field in data_type]
        return next((reason for reason in reasons if reason), None)
    if types.is_map(data_type):
        return json_refusal(data_type.key_type) or json_refusal(data_type.item_type)
    if _is_list(data_type):
        return json_refusal(data_type.value_type)
    if (
        (types.is_primitive(data_type) and not types.is_interval(data_type))
        or types.is_null(data_type) or types.is_decimal(data_type) or is_text(data_type)
    ):
        return None
    return "it has no JSON form"


def json_lines(batch: pa.RecordBatch) -> pa.Buffer:
    """One JSON object a row, each ended by a newline, in one buffer.

    Raises:
      ArrowInvalid: the text exceeds 2 GiB; give smaller batches.
    """
    pieces: list[pa.Array | pa.Scalar] = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        key = f"{',' if pieces else '{'}{json.dumps(name, ensure_ascii=False)}:"
        pieces += [_text(key), json_text(column)]
    lines = _joined(*pieces, _text("}\n"))
    _, offsets, values = lines.buffers()
    bounds = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, offsets])
    return values.slice(bounds[0].as_py(), bounds[-1].as_py() - bounds[0].as_py())


def json_text(array: pa.Array) -> pa.StringArray:
    """Each value as JSON text; nulls are the text `null`."""
    types = pa.types
    if types.is_null(array.type):
        return pa.repeat(_NULL, len(array))
    if types.is_struct(array.type):
        text = _struct_text(array)
    elif types.is_map(array.type):
        text = _map_text(array)
    elif _is_list(array.type):
        text = _joined(_text("["), _elements_joined(array, json_text(array.flatten())), _text("]"))
    elif is_text(array.type):
        text = _string_text(array)
    elif types.is_floating(array.type):
        text = _float_text(array)
    elif types.is_temporal(array.type) and not types.is_duration(array.type):
        iso = pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1)
        text = _joined(_text('"'), iso, _text('"'))
    else:
        text = array.cast(pa.string())
    return pc.if_else(array.is_valid(), text, _NULL)


def text_of_bytes(array: pa.Array) -> pa.StringArray:
    """Strings or bytes as text: what is no UTF-8 becomes `{"b64": "…"}`; nulls stay null."""
    stored = array.cast(_bytes_type(array.type))
    try:
        return stored.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if value is None else _decoded(value) for value in stored.to_pylist()]
        return pa.array(texts, pa.string())


def _string_text(array: pa.Array) -> pa.StringArray:
    stored = array.cast(_bytes_type(array.type))
    try:
        text = stored.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if value is None else _quoted(value) for value in stored.to_pylist()]
        return pa.array(texts, pa.string())
    quoted = _joined(_text('"'), text, _text('"'))
    escape = pc.match_substring_regex(text, _NEEDS_ESCAPE).fill_null(False)
    if escape.true_count == 0:
        return quoted
    escaped = [json.dumps(value, ensure_ascii=False) for value in text.filter(escape).to_pylist()]
    return pc.replace_with_mask(quoted, escape, pa.array(escaped, pa.string()))


def _float_text(array: pa.Array) -> pa.StringArray:
    if array.type == pa.float16():
        array = array.cast(pa.float32())
    text = array.cast(pa.string())
    whole = pc.equal(pc.floor(array), array).fill_null(False)
    if whole.true_count:
        # 1.0 is not written as 1: readers that guess types must see a float column.
        whole = pc.match_substring_regex(text, _IS_WHOLE)
        text = pc.if_else(whole, _joined(text, _text(".0")), text)
    return pc.if_else(pc.is_finite(array), text, _NULL)


def _struct_text(array: pa.StructArray) -> pa.StringArray:
    pieces: list[pa.Array | pa.Scalar] = []
    for field, child in zip(array.type, array.flatten(), strict=True):
        key = f"{',' if pieces else '{'}{json.dumps(field.name, ensure_ascii=False)}:"
        pieces += [_text(key), json_text(child)]
    return _joined(*pieces, _text("}")) if pieces else pa.repeat(
        pa.scalar("{}", pa.string()), len(array))


def _map_text(array: pa.MapArray) -> pa.StringArray:
    entry = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    entries = array.cast(pa.list_(entry))
    keys, values = (json_text(child) for child in entries.flatten().flatten())
    if not is_text(array.type.key_type):
        plain_keys = pc.replace_substring(keys, '"', "")
        keys = _joined(_text('"'), plain_keys, _text('"'))
    members = _joined(keys, _text(":"), values)
    return _joined(_text("{"), _elements_joined(entries, members), _text("}"))


def _elements_joined(lists: pa.Array, elements: pa.StringArray) -> pa.StringArray:
    """The texts of each list's elements, with commas between; null lists give an empty text."""
    lengths = pc.list_value_length(lists).fill_null(0).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)])
    return pc.binary_join(pa.LargeListArray.from_arrays(offsets, elements), ",")


def _joined(*pieces: pa.Array | pa.Scalar) -> pa.StringArray:
    return pc.binary_join_element_wise(*pieces, _NO_SEPARATOR)


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.string())


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return json.dumps({"b64": base64.b64encode(value).decode("ascii")})


def _quoted(value: bytes) -> str:
    try:
        return json.dumps(value.decode(), ensure_ascii=False)
    except UnicodeDecodeError:
        return _decoded(value)


def _is_list(data_type: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_list(data_type) or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
    )


def is_text(data_type: pa.DataType) -> bool:
    """Whether it is a type of strings or bytes."""
    types = pa.types
    return (
        types.is_string(data_type) or types.is_large_string(data_type)
        or types.is_binary(data_type) or types.is_large_binary(data_type)
        or types.is_fixed_size_binary(data_type)
    )


def _bytes_type(data_type: pa.DataType) -> pa.DataType:
    # Strings too: files by careless writers hold strings that are no UTF-8.
    large = pa.types.is_large_string(data_type) or pa.types.is_large_binary(data_type)
    return pa.large_binary() if large else pa.binary()
