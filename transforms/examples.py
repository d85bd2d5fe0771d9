"""tf.Example records as record batches, with tfx-bsl's decoder."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from transforms.column_types import OBSERVED_LENGTH
from transforms.conversion import RowError
from transforms.engine.signature import TensorField
from transforms.engine.stage_times import DECODE, STAGE_TIMES

Kind = Literal["float", "int", "bytes"]

_ARROW_TYPES = {"float": pa.float32(), "int": pa.int64(), "bytes": pa.large_binary()}
_KINDS: dict[pa.DataType, Kind] = {
    pa.float32(): "float",
    pa.int64(): "int",
    pa.large_binary(): "bytes",
}

# What the decoder is known to raise for a record: DATA_LOSS and INVALID_ARGUMENT, an
# argument that is no bytes, and a message with a feature's name that is no UTF-8.
_RECORD_ERRORS = (RuntimeError, TypeError, ValueError)


class ExampleError(ValueError):
    """Bytes are no tf.Example, or one whose features have other types or lengths."""


@dataclasses.dataclass(frozen=True)
class ExampleFeature:
    """One feature as the records hold it.

    Attributes:
      kind: which of the three lists of tf.Feature it is.
      length: values in each record, where all have as many; a missing one does not count.
    """

    kind: Kind
    length: int | None = None


def infer_features(records: Sequence[bytes]) -> dict[str, ExampleFeature]:
    """The features that occur in some records, by name in order.

    Records that are no tf.Example are left out; of several kinds of one name the one that
    most records have is taken.
    """
    lengths: dict[str, dict[Kind, collections.Counter[int]]] = {}
    for _, batch in _pieces(records, None, []):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_null(column.type):
                continue
            by_kind = lengths.setdefault(name, {})
            counter = by_kind.setdefault(_KINDS[column.type.value_type], collections.Counter())
            counter.update(column.drop_null().value_lengths().to_pylist())
    return {name: _most_seen(by_kind) for name, by_kind in sorted(lengths.items())}


def relax_lengths(
    features: Mapping[str, ExampleFeature], fields: Mapping[str, TensorField]
) -> dict[str, ExampleFeature]:
    """The features with no fixed length for those that feed a field of a free dimension.

    `infer_features` knows some records only: where the model takes any length, a later
    record of another length is no error.

    Args:
      features: as inferred.
      fields: what they feed, by feature.
    """
    return {
        name: feature
        if name not in fields or fields[name].is_static
        else dataclasses.replace(feature, length=None)
        for name, feature in features.items()
    }


def example_schema(features: Mapping[str, ExampleFeature]) -> pa.Schema:
    """The columns that features decode to.

    One value a record becomes a primitive column, everything else a large list, as tfx-bsl
    gives it; a list's observed length stands in its field's metadata.
    """
    return pa.schema([_field(name, feature) for name, feature in features.items()])


class ExampleDecoder:
    """Decodes records into batches of one schema. Safe to pickle and to share by threads.

    Args:
      features: the features wanted; others are skipped. A feature that a record lacks, or
        has without values, is null (an empty list where it is a list without values).
    """

    def __init__(self, features: Mapping[str, ExampleFeature]) -> None:
        self.features = dict(features)
        self.schema = example_schema(features)
        self._serialized_schema = _metadata_schema(features)

    @STAGE_TIMES.timed(DECODE)
    def decode(self, records: Sequence[bytes]) -> tuple[pa.RecordBatch, list[RowError]]:
        """Decodes records.

        Args:
          records: serialized tf.Examples.

        Returns:
          A batch of the sound ones, in order, and an error for each other: bytes that do
          not parse, a feature of another kind, several values where one is expected.
        """
        batch, rows, errors = _decode_sound(records, self._serialized_schema)
        singles = [name for name, feature in self.features.items() if feature.length == 1]
        crowded = np.zeros(batch.num_rows, bool)
        for name in singles:
            lengths = np.diff(batch.column(name).offsets.to_numpy())
            for index in np.flatnonzero((lengths > 1) & ~crowded):
                message = (
                    f"expected one value of feature '{name}', as in the records seen first. "
                    f"Received: {lengths[index]} values."
                )
                errors.append(RowError(int(rows[index]), ExampleError.__name__, message))
            crowded |= lengths > 1
        if crowded.any():
            batch = batch.filter(pa.array(~crowded))
        columns = [
            _single_values(column) if name in singles else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        if not columns:
            return batch, errors
        return pa.RecordBatch.from_arrays(columns, schema=self.schema), sorted(errors)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.features,)


def _field(name: str, feature: ExampleFeature) -> pa.Field:
    kind = _ARROW_TYPES[feature.kind]
    if feature.length == 1:
        return pa.field(name, kind)
    metadata = None if feature.length is None else {OBSERVED_LENGTH: str(feature.length)}
    return pa.field(name, pa.large_list(kind), metadata=metadata)


def _most_seen(lengths: Mapping[Kind, collections.Counter[int]]) -> ExampleFeature:
    kind = max(lengths, key=lambda kind: lengths[kind].total())
    filled = [length for length in lengths[kind] if length > 0]
    return ExampleFeature(kind, filled[0] if len(filled) == 1 else None)


def _single_values(column: pa.Array) -> pa.Array:
    """The one value of each list, null where there is none."""
    offsets = column.offsets.to_numpy()
    lengths = np.diff(offsets)
    if (lengths == 1).all():
        return column.values.slice(offsets[0], len(column))
    return column.values.take(pa.array(offsets[:-1], mask=lengths == 0))


def _metadata_schema(features: Mapping[str, ExampleFeature]) -> bytes:
    from tensorflow_metadata.proto.v0 import schema_pb2

    types = {"float": schema_pb2.FLOAT, "int": schema_pb2.INT, "bytes": schema_pb2.BYTES}
    schema = schema_pb2.Schema()
    for name, feature in features.items():
        schema.feature.add(name=name, type=types[feature.kind])
    return schema.SerializeToString()


def _decode_sound(
    records: Sequence[bytes], serialized_schema: bytes
) -> tuple[pa.RecordBatch, np.ndarray, list[RowError]]:
    """The records that decode as one batch, their positions, and an error for each other."""
    errors: list[RowError] = []
    pieces = list(_pieces(records, serialized_schema, errors))
    if not pieces:
        return _decode([], serialized_schema), np.arange(0), errors
    rows = [np.arange(start, start + batch.num_rows) for start, batch in pieces]
    return pa.concat_batches([batch for _, batch in pieces]), np.concatenate(rows), errors


def _pieces(
    records: Sequence[bytes], serialized_schema: bytes | None, errors: list[RowError]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Runs of records that decode together, each with the position of its first."""
    ranges = [(0, len(records))]
    while ranges:
        start, stop = ranges.pop()
        try:
            yield start, _decode(records[start:stop], serialized_schema)
        except _RECORD_ERRORS as error:
            if stop - start == 1:
                reason = str(error).partition("\n")[0]
                message = f"expected a tf.Example of the planned features. Received: {reason}"
                errors.append(RowError(start, ExampleError.__name__, message))
            else:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]


def _decode(records: Sequence[bytes], serialized_schema: bytes | None) -> pa.RecordBatch:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    # A new one each time: after an error it would give the failed batch's rows again.
    return ExamplesToRecordBatchDecoder(serialized_schema).DecodeBatch(records)
