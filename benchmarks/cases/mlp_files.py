"""Files of rows for the small network, and the check of what contenders make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.cases.base import Job
from benchmarks.measured import SEEN
from benchmarks.models import CLASSES, FEATURES, export_for_examples, save_mlp

INPUT, WARM_INPUT = "input", "warm_input"
WARM_ROWS = 4096
# More files than a machine of this kind has cores, so that every contender may read in parallel.
FILES = 4
KEPT = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("name", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("day", pa.int32()),
    ]
)
SCORES = pa.field("scores", pa.list_(pa.float32()))

_RTOL, _ATOL = 1e-4, 1e-5


def make_model_and_rows(folder: Path, rows: int) -> np.ndarray:
    """Saves the model, random rows `[rows, 32]` and what the bare model gives for them."""
    import keras

    save_mlp(folder / "model.keras")
    export_for_examples(folder)
    features = np.random.default_rng(0).normal(size=(rows, FEATURES)).astype(np.float32)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    expected = np.empty((rows, CLASSES), np.float32)
    for part in parts(rows, 65536):
        expected[part] = model(features[part], training=False).numpy()
    np.save(folder / "features.npy", features)
    np.save(folder / "expected.npy", expected)
    return features


def kept_columns(first: int, count: int) -> pa.Table:
    """Four columns that the model does not take, of rows from `first` on."""
    ids = np.arange(first, first + count)
    names = np.char.add("customer-", (ids * 2654435761 % 1_000_003).astype(str))
    columns = [ids, names, ids / 7, (ids % 365).astype(np.int32)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, KEPT, strict=True)]
    return pa.Table.from_arrays(arrays, schema=KEPT)


def parts(rows: int, part_rows: int) -> Iterator[slice]:
    """Slices of at most `part_rows` that make up all rows."""
    for first in range(0, rows, part_rows):
        yield slice(first, min(first + part_rows, rows))


def read_output(folder: Path) -> pa.Table:
    """The rows of all Parquet files below `output`, ordered by `id`."""
    import pyarrow.parquet as pq

    tables = []
    for path in sorted((folder / "output").rglob("*.parquet")):
        if "_mirrorbeam" not in path.parts:
            table = pq.read_table(path)
            own = table.select([name for name in table.column_names if name[0] != "_"])
            # Contenders may store the scores as lists of a fixed size or of any.
            tables.append(own.set_column(*_scores(own)))
    return pa.concat_tables(tables).sort_by("id")


def _scores(table: pa.Table) -> tuple[int, pa.Field, pa.ChunkedArray]:
    position = table.schema.get_field_index("scores")
    return position, SCORES, table.column(position).cast(SCORES.type)


def check_files(job: Job, kept: Sequence[str]) -> None:
    """Every row is in the output once, with its kept columns and the bare model's scores.

    Where there are no files, the rows that were seen in memory are checked.

    Raises:
      ValueError: it is not.
    """
    expected = np.load(job.data / "expected.npy")
    if not (job.output / "output").exists():
        SEEN.check(job.rows, float(expected[:, 0].sum(dtype=np.float64)))
        return
    table = read_output(job.output)
    if not np.array_equal(table.column("id").to_numpy(), np.arange(job.rows)):
        raise ValueError(f"expected rows 0 to {job.rows}, each once. Received: {len(table)} rows.")
    scores = table.column("scores").combine_chunks().flatten().to_numpy().reshape(job.rows, -1)
    if not np.allclose(scores, expected, rtol=_RTOL, atol=_ATOL):
        raise ValueError(
            "expected the bare model's scores. Received: scores that are up to "
            f"{np.abs(scores - expected).max()} off."
        )
    originals = kept_columns(0, job.rows)
    for name in kept:
        if not table.column(name).cast(KEPT.field(name).type).equals(originals.column(name)):
            raise ValueError(f"expected the input's column {name!r}. Received: other values.")
