"""Which columns an input may have."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import pyarrow as pa

from pipelines.sources.base import InputError
from transforms.matching import RESERVED_COLUMNS


def own_columns(schema: pa.Schema, path: str) -> pa.Schema:
    """The columns of a file without those that mirrorbeam wrote into a table of failed rows.

    Args:
      schema: all columns of a file.
      path: the file, for messages.

    Raises:
      InputError: some of them stand in another table, or two columns share a name.
    """
    if not is_failed_table(schema.names):
        taken = set(schema.names) & set(RESERVED_COLUMNS)
        if taken:
            raise InputError(
                f"expected input columns other than {', '.join(RESERVED_COLUMNS)}, which outputs "
                f"and tables of failed rows get. Received: {', '.join(sorted(taken))} in {path}. "
                "Rename or drop them where the input is written."
            )
        return checked_names(schema, path)
    own = pa.schema([field for field in schema if field.name not in RESERVED_COLUMNS])
    return checked_names(own, path)


def is_failed_table(names: Sequence[str]) -> bool:
    """Whether a table with such columns was written by mirrorbeam for the rows that failed."""
    return set(names).issuperset(RESERVED_COLUMNS)


def checked_names(schema: pa.Schema, path: str) -> pa.Schema:
    """The same schema, if every column has a name of its own.

    Raises:
      InputError: otherwise.
    """
    name, times = max(
        collections.Counter(schema.names).items(), key=lambda item: item[1], default=("", 1)
    )
    if times > 1:
        raise InputError(
            f"expected columns with names of their own. Received: {name!r} {times} times in "
            f"{path}. Rename them where it is written."
        )
    return schema
