"""Parquet files of a model's inputs and an `id`, and the same rows as arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.cases.mlp_files import FILES, INPUT, WARM_INPUT, parts

ARRAYS = "arrays"
_GROUP_BYTES = 8 * 2**20
_EXPECTED_ROWS = 256


def write_files(
    folder: Path, columns: Mapping[str, np.ndarray], warm_rows: int, expected_rows: int
) -> None:
    """Writes rows for every contender, and what the model in `folder` gives for them.

    Args:
      folder: of the case; has the model.
      columns: by model input, `[rows, …]`; texts as bytes of NumPy's `S`.
      warm_rows: rows of the files that are scored before the clock.
      expected_rows: rows of a batch of the bare model.
    """
    rows = len(next(iter(columns.values())))
    write_arrays(folder, columns)
    write_expected(folder, expected_rows)
    for part in parts(rows, -(-rows // FILES)):
        write_table(folder / INPUT / f"rows-{part.start:010d}.parquet", columns, part)
    # As many files, so that peers of several processes warm all of them.
    warm = parts(min(rows, warm_rows), -(-min(rows, warm_rows) // FILES))
    for part in warm:
        write_table(folder / WARM_INPUT / f"rows-{part.start:010d}.parquet", columns, part)


def write_arrays(folder: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Saves the rows as the bare loop takes them."""
    (folder / ARRAYS).mkdir()
    for name, values in columns.items():
        np.save(folder / ARRAYS / f"{name}.npy", values)


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The rows as arrays by model input; texts as bytes objects."""
    found = {path.stem: np.load(path) for path in sorted((folder / ARRAYS).glob("*.npy"))}
    return {
        name: values.astype(object) if values.dtype.kind == "S" else values
        for name, values in found.items()
    }


def write_expected(folder: Path, batch_rows: int) -> None:
    """Saves what the bare model gives."""
    from benchmarks.contenders.traced import load_traced

    columns = read_arrays(folder)
    score = load_traced(str(folder / "model.keras"))
    rows = len(next(iter(columns.values())))
    scores = [
        score({name: values[part] for name, values in columns.items()})
        for part in parts(rows, batch_rows)
    ]
    expected = np.concatenate(scores)
    # Scores that hardly differ would not tell one row from another.
    least = 100 * 1e-5
    if expected[:_EXPECTED_ROWS, 0].std() < least:
        raise ValueError(
            f"expected scores that differ by {least} or more. Received: "
            f"{expected[:_EXPECTED_ROWS, 0].std()}."
        )
    np.save(folder / "expected.npy", expected)


def write_table(path: Path, columns: Mapping[str, np.ndarray], part: slice) -> None:
    """Writes some of the rows as one file, in row groups of about 8 MiB."""
    import pyarrow.parquet as pq

    path.parent.mkdir(exist_ok=True)
    some = {name: values[part] for name, values in columns.items()}
    row_bytes = sum(values[0].nbytes for values in some.values())
    arrays = {"id": pa.array(np.arange(part.start, part.stop))}
    arrays |= {name: arrow_column(values) for name, values in some.items()}
    pq.write_table(
        pa.table(arrays), path, row_group_size=max(1, min(65536, _GROUP_BYTES // row_bytes))
    )


def arrow_column(values: np.ndarray) -> pa.Array:
    """Texts, numbers `[n]` or `[n, 1]` as plain columns, others as lists of a fixed size."""
    flat = values.reshape(len(values), -1)
    if values.dtype.kind == "S":
        return pa.array(flat[:, 0].astype(str), pa.string())
    if flat.shape[1] == 1:
        return pa.array(flat[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
