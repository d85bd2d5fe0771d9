"""Which columns are read, which of them feed the model and which go along to the output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.errors import CommandError
from pipelines.options import Keep
from pipelines.sources.base import ReadRequest, Source
from pipelines.user_code import UserFunction, function_parameters
from transforms.block import ROW_COLUMN, SOURCE_COLUMN
from transforms.casting import FLOATS
from transforms.elements import kept_columns, output_names
from transforms.engine.signature import Signature, TensorField
from transforms.matching import Feed, feed_columns, match_columns, natural_field
from transforms.outputs import output_schema
from transforms.resize import EXTENT_SUFFIX, ResizeImages

_CHANNELS = (1, 3, 4)


@dataclasses.dataclass(frozen=True)
class Feeding:
    """How a source's columns get to the model and to the output.

    Attributes:
      source: prepared to read what is needed.
      feeds: the columns that are fed.
      kept: the columns that are copied to the output.
      preprocess: a function of the fed columns, traced before the model; None without one.
      spec: what each fed column holds, as stored, where that is known.
      padded: the column of images that are padded to share batches; None without one.
      notes: what the user may not expect, as sentences.
    """

    source: Source
    feeds: tuple[Feed, ...]
    kept: tuple[str, ...]
    preprocess: UserFunction | ResizeImages | None
    spec: Mapping[str, TensorField]
    padded: str | None = None
    notes: tuple[str, ...] = ()


def choose_feeding(
    source: Source,
    schema: pa.Schema,
    signature: Signature,
    *,
    input_map: Mapping[str, str],
    keep: Keep,
    function: UserFunction | None = None,
    image_size: tuple[int, int] | None = None,
    sizes_differ: bool = False,
) -> Feeding:
    """Matches a source's columns with what a model takes.

    Args:
      source: as planned.
      schema: its columns; empty where it has no row to tell them.
      signature: the model's.
      input_map: column by model input.
      keep: columns to copy; None for all that are not fed.
      function: preprocessing of the user's, whose parameters name columns.
      image_size: height and width to resize images to.
      sizes_differ: whether image files have many sizes: those that are only resized are then
        padded to few, so that they share batches.

    Raises:
      FeatureError: an input has no column, or one that cannot fit.
      CommandError: a column to keep is not there, or images cannot be resized for the model.
    """
    if function is not None and image_size is not None:
        raise CommandError(
            "expected one of --preprocess and --image_size. Received: both. The function gets "
            "images in their own size: resize them in it."
        )
    told = bool(schema.names)
    notes = []
    if not told:
        notes.append("no row of the input tells its columns: they are taken from the model")
        schema, keep = _imagined_schema(signature, input_map, function), None
    raw = _takes_stored_records(source, schema, signature, input_map, function)
    if raw and function is None and signature.inputs[0].name in schema.names:
        name = signature.inputs[0].name
        notes.append(
            f"input {name} gets whole records; pass --input_map {name}={name} to feed the column"
        )
    available = _with_record(schema, source.record_column) if raw else schema
    feeds = _feeds(available, signature, input_map, function, source if raw else None)
    consumed = [feed.column for feed in feeds]
    kept = _kept(schema, consumed, keep, raw, source.named_only)
    preprocess: UserFunction | ResizeImages | None = function
    if function is None:
        sizes_differ = sizes_differ and source.gives_images and feeds[0].column not in kept
        preprocess = _resize(source, signature, feeds, image_size, padded=sizes_differ)
    channels = _channels(signature)
    if source.gives_images and function is None and channels not in _CHANNELS:
        raise CommandError(
            "expected a model that takes images of 1, 3 or 4 channels. Received: "
            f"{signature.inputs[0].name}: {signature.inputs[0]}. Convert them with --preprocess."
        )
    # A column that is read for nothing else shows that an output has its name.
    namesakes = {field.name for field in signature.outputs or ()} - set(source.named_only)
    request = ReadRequest(
        schema=schema,
        fed=_fed(schema, feeds),
        kept=tuple(name for name in schema.names if name in kept or name in namesakes),
        raw=raw,
        channels=channels if channels in _CHANNELS else 3,
        image_size=_unseen_size(preprocess, kept),
    )
    prepared = source.prepared(request)
    padded = (
        feeds[0].column if preprocess is not None and function is None and sizes_differ else None
    )
    spec = _spec(prepared, feeds) if told else {}
    if padded is not None:
        spec[padded + EXTENT_SUFFIX] = TensorField(padded + EXTENT_SUFFIX, "int32", (2,))
    return Feeding(
        source=prepared,
        feeds=feeds,
        kept=tuple(name for name in prepared.columns_schema().names if name in kept),
        preprocess=preprocess,
        spec=spec,
        padded=padded,
        notes=tuple(notes),
    )


def scored_schema(
    block_schema: pa.Schema, kept: Sequence[str], outputs: Sequence[TensorField]
) -> pa.Schema:
    """The columns of scored blocks.

    Args:
      block_schema: what the prepared source gives.
      kept: columns that go along.
      outputs: the model's.

    Raises:
      OutputError: no column holds an output.
    """
    names = output_names([field.name for field in outputs], block_schema.names)
    return pa.schema(
        [
            *(block_schema.field(name) for name in kept),
            *(block_schema.field(name) for name in (SOURCE_COLUMN, ROW_COLUMN)),
            *(field.with_name(names[field.name]) for field in output_schema(outputs)),
        ]
    )


def _takes_stored_records(
    source: Source,
    schema: pa.Schema,
    signature: Signature,
    input_map: Mapping[str, str],
    function: UserFunction | None,
) -> bool:
    record = source.record_column
    if record is None:
        return False
    if function is not None:
        return record in function_parameters(function) and record not in schema.names
    return signature.takes_records and input_map.get(signature.inputs[0].name, record) == record


def _feeds(
    available: pa.Schema,
    signature: Signature,
    input_map: Mapping[str, str],
    function: UserFunction | None,
    raw_source: Source | None,
) -> tuple[Feed, ...]:
    if function is not None:
        if input_map:
            raise CommandError(
                "expected one of --preprocess and --input_map. Received: both. The function's "
                "parameters name the columns that it takes."
            )
        return feed_columns(available, function_parameters(function))
    if raw_source is not None:
        assert raw_source.record_column is not None
        field = signature.inputs[0]
        return (Feed(raw_source.record_column, field.name, field),)
    return match_columns(available, signature.inputs, input_map)


def _kept(
    schema: pa.Schema, consumed: Sequence[str], keep: Keep, raw: bool, named_only: Sequence[str]
) -> tuple[str, ...]:
    if raw and keep is None:
        return ()
    names = schema.names
    if keep is None or keep == "all":
        names = [name for name in names if name not in named_only]
    try:
        return tuple(kept_columns(names, consumed, keep))
    except ValueError as error:
        raise CommandError(f"{str(error).rpartition(' Correct')[0]} Correct --keep.") from error


def _resize(
    source: Source,
    signature: Signature,
    feeds: Sequence[Feed],
    image_size: tuple[int, int] | None,
    *,
    padded: bool,
) -> ResizeImages | None:
    if image_size is None and not source.gives_images:
        return None
    field = signature.inputs[0]
    if len(signature.inputs) != 1 or field.shape is None or len(field.shape) != 3:
        if image_size is None:
            return None
        described = ", ".join(f"{field.name}: {field}" for field in signature.inputs)
        raise CommandError(
            "expected a model with one input of images, [rows, height, width, channels], for "
            f"--image_size. Received: {described}. Resize with --preprocess."
        )
    height, width = field.shape[0], field.shape[1]
    if image_size is None:
        if height is None or width is None:
            return None
        image_size = height, width
    elif height not in (None, image_size[0]) or width not in (None, image_size[1]):
        raise CommandError(
            f"expected an --image_size that the model takes. Received: {image_size[0]},"
            f"{image_size[1]} for {field.name}: {field}. Leave --image_size out."
        )
    return ResizeImages(*image_size, column=feeds[0].column, dtype=field.dtype, padded=padded)


def _unseen_size(
    preprocess: UserFunction | ResizeImages | None, kept: Sequence[str]
) -> tuple[int, int] | None:
    """What images are resized to, where nothing sees them in their own size."""
    if not isinstance(preprocess, ResizeImages) or preprocess.column in kept:
        return None
    return preprocess.size


def _channels(signature: Signature) -> int | None:
    """What the last dimension of the only input says; 3 where nothing does."""
    shape = signature.inputs[0].shape if len(signature.inputs) == 1 else None
    if shape is not None and len(shape) == 2:
        return 1
    if shape is None or len(shape) != 3 or shape[2] is None:
        return 3
    return shape[2]


def _fed(schema: pa.Schema, feeds: Sequence[Feed]) -> dict[str, TensorField | None]:
    return {feed.column: feed.field for feed in feeds if feed.column in schema.names}


def _spec(prepared: Source, feeds: Sequence[Feed]) -> dict[str, TensorField]:
    if prepared.gives_images:
        shape = (None, None, prepared.wanted.channels)
        return {feed.column: TensorField(feed.column, "uint8", shape) for feed in feeds}
    # A length seen in some rows is no promise for the others: types alone count.
    schema = prepared.columns_schema()
    return {
        feed.column: natural_field(schema.field(feed.column).remove_metadata()) for feed in feeds
    }


def _with_record(schema: pa.Schema, record_column: str | None) -> pa.Schema:
    if record_column is None or record_column in schema.names:
        return schema
    return pa.schema([*schema, pa.field(record_column, pa.large_binary())])


def _imagined_schema(
    signature: Signature, input_map: Mapping[str, str], function: UserFunction | None
) -> pa.Schema:
    """Columns that would fit, for an input without a row to tell its own."""
    if function is not None:
        return pa.schema([(name, pa.float32()) for name in function_parameters(function)])
    return pa.schema(
        [
            (input_map.get(field.name, field.name), _imagined_type(field))
            for field in signature.inputs
        ]
    )


def _imagined_type(field: TensorField) -> pa.DataType:
    kind = pa.int64()
    if field.dtype == "string":
        kind = pa.large_binary()
    elif field.dtype in FLOATS:
        kind = pa.float32()
    return kind if field.shape == () else pa.large_list(kind)
