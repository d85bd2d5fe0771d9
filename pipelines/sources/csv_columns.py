"""Types of CSV columns: as the command says, else by their first values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.sources.base import InputError
from pipelines.sources.text_values import TYPES, infer_field


def csv_schema(texts: Sequence[pa.RecordBatch], given: Mapping[str, str]) -> pa.Schema:
    """The columns of the first of some samples, typed by the values of all.

    Args:
      texts: at least one batch of strings, of one file or several.
      given: names in `TYPES` of columns whose type is not to be guessed.

    Raises:
      InputError: a type is given for a column that is not there.
    """
    names = texts[0].schema.names
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise InputError(
            f"expected --csv_types for columns of the input. Received: {unknown[0]!r}; the "
            f"columns are {', '.join(names)}."
        )
    fields = []
    for name in names:
        if name in given:
            fields.append(pa.field(name, TYPES[given[name]]))
            continue
        values = [batch.column(name) for batch in texts if name in batch.schema.names]
        fields.append(infer_field(name, pa.concat_arrays(values)))
    return pa.schema(fields)
