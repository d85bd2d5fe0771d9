"""RunInference, as shipped and tuned by hand, over Parquet columns and over image files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io import fileio
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference

from benchmarks.cases.base import Job
from benchmarks.cases.jpeg_files import file_id
from benchmarks.contenders.runinference import (
    ID_SCHEMA,
    LOADED,
    LoadedModelHandler,
    id_row,
    load,
    to_parquet,
)
from benchmarks.contenders.traced import Traced, decode_jpeg, load_traced, table_arrays

# Rows of a batch of columns, of pixels in columns, and of image files.
COLUMN_BATCH_ROWS, PIXEL_BATCH_ROWS, IMAGE_BATCH_ROWS = 2048, 128, 16


def parquet_files(job: Job) -> Callable[[], None]:
    """As shipped: Parquet read a row at a time; the id is the key."""
    (field,) = load(job).inputs
    name, shape = field.name, field.shape[1:]
    dtype = None if field.dtype == "string" else field.dtype

    def keyed(row: Mapping[str, Any]) -> tuple[int, np.ndarray]:
        return row["id"], np.array(row[name], dtype).reshape(shape)

    handler = KeyedModelHandler(LoadedModelHandler(str(job.model)))
    steps = beam.Map(keyed), RunInference(handler), beam.Map(id_row)
    return to_parquet(job, ID_SCHEMA, beam.io.ReadFromParquet, *steps)


def image_files(job: Job) -> Callable[[], None]:
    """As shipped: files decoded by Pillow, one an element; the id is the key."""
    load(job)
    handler = KeyedModelHandler(LoadedModelHandler(str(job.model)))
    steps = beam.Map(pillow_pixels), RunInference(handler), beam.Map(id_row)
    return to_parquet(job, ID_SCHEMA, fileio.MatchFiles, fileio.ReadMatches(), *steps)


def pillow_pixels(file: fileio.ReadableFile) -> tuple[int, np.ndarray]:
    """Id and pixels of a file."""
    from PIL import Image

    return file_id(file.metadata.path), np.asarray(Image.open(io.BytesIO(file.read())))


class NamedHandler(LoadedModelHandler):
    """A handler of rows `(id, values of each input)`, for a fixed number of rows a batch."""

    def __init__(self, job: Job, names: Sequence[str], batch_rows: int) -> None:
        """Takes the inputs in the order of a row's values."""
        super().__init__(str(job.model), min_batch_size=batch_rows, max_batch_size=batch_rows)
        self._names = tuple(names)

    def run_inference(
        self, batch: Sequence[Any], model: Traced, inference_args: dict[str, Any] | None = None
    ) -> Iterator[PredictionResult]:
        """Scores a batch in one traced call, with one copy to NumPy."""
        ids, *columns = zip(*batch, strict=True)
        arrays = {
            name: np.stack(values) if isinstance(values[0], np.ndarray) else np.array(values, "O")
            for name, values in zip(self._names, columns, strict=True)
        }
        for row_id, scores in zip(ids, model(arrays), strict=True):
            yield PredictionResult(row_id, scores)


def tuned_parquet_files(job: Job) -> Callable[[], None]:
    """Parquet read in tables and cut into rows as late as the elements of RunInference allow."""
    names, is_image = _load_traced(job)
    handler = NamedHandler(job, names, PIXEL_BATCH_ROWS if is_image else COLUMN_BATCH_ROWS)

    def table_rows(table: Any) -> Iterator[tuple[Any, ...]]:
        arrays = table_arrays(table)
        ids = table.column("id").to_pylist()
        return zip(ids, *(_cells(arrays[name]) for name in names), strict=True)

    steps = beam.FlatMap(table_rows), RunInference(handler), beam.Map(tuned_row)
    return to_parquet(job, ID_SCHEMA, beam.io.ReadFromParquetBatched, *steps)


def tuned_image_files(job: Job) -> Callable[[], None]:
    """Files decoded by OpenCV, one an element."""
    names, _ = _load_traced(job)
    handler = NamedHandler(job, names, IMAGE_BATCH_ROWS)

    steps = beam.Map(opencv_pixels), RunInference(handler), beam.Map(tuned_row)
    return to_parquet(job, ID_SCHEMA, fileio.MatchFiles, fileio.ReadMatches(), *steps)


def opencv_pixels(file: fileio.ReadableFile) -> tuple[int, np.ndarray]:
    """Id and pixels of a file."""
    return file_id(file.metadata.path), decode_jpeg(file.read())


def tuned_row(result: PredictionResult) -> dict[str, Any]:
    """What is written of a result."""
    return {"id": result.example, "scores": result.inference}


def _load_traced(job: Job) -> tuple[list[str], bool]:
    """Loads the model; gives its inputs and whether they are images."""
    fields = load(job).inputs
    LOADED[str(job.model)] = load_traced(str(job.model))
    return [field.name for field in fields], len(fields[0].shape) == 4


def _cells(values: np.ndarray) -> Any:
    """Rows of an array: views, or plain values where they are single."""
    return values if values.ndim > 1 else values.tolist()
