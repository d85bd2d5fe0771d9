"""Beam's RunInference as shipped: ``TFModelHandlerNumpy`` and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks.cases.base import Job
from benchmarks.cases.mlp_files import KEPT, SCORES
from benchmarks.measured import SEEN

# Models of this process by path: loaded before the clock, and the pipeline's workers are threads.
LOADED: dict[str, Any] = {}


class LoadedModelHandler(TFModelHandlerNumpy):
    """The handler with a model that this process has loaded already."""

    def load_model(self) -> Any:
        """The model, as `load` left it."""
        return LOADED[self._model_uri]


def load(job: Job) -> Any:
    """Loads the case's model as the handler would, and keeps it."""
    import keras

    model = keras.models.load_model(job.model, compile=False)
    LOADED[str(job.model)] = model
    return model


def options() -> PipelineOptions:
    """The runner that mirrorbeam uses too."""
    return PipelineOptions(["--runner=FnApiRunner"])


def blocks(job: Job) -> Callable[[], None]:
    """Rows of the in-memory generator, one an element."""
    return to_nothing(job, rows, RunInference(_warm_handler(job)), see)


def to_nothing(
    job: Job, elements: Callable[..., Any], transform: beam.PTransform, see: Callable[..., None]
) -> Callable[[], None]:
    """A pipeline over the in-memory generator that only looks at what comes out.

    Args:
      job: the run.
      elements: makes the elements of a first row and a number of rows.
      transform: scores them.
      see: counts a result.
    """

    def run() -> None:
        with beam.Pipeline(options=options()) as pipeline:
            _ = (
                pipeline
                | beam.Create([(0, job.rows)])
                | beam.FlatMap(elements)
                | transform
                | beam.Map(see)
            )

    return run


def rows(spec: tuple[int, int]) -> Any:
    """The generator's rows, one after the other."""
    from benchmarks.cases.record_batches import generate

    for block in generate(*spec, 4096):
        yield from block


def see(result: Any) -> None:
    """Counts a result; the lambda of a pipeline would count in its own copy of `SEEN`."""
    SEEN.row(result.inference.numpy())


# Rows of the output where only the id is kept, and where all four columns are.
ID_SCHEMA = pa.schema([KEPT.field("id"), SCORES])
KEPT_SCHEMA = pa.schema([*KEPT, SCORES])


def example_files(job: Job) -> Callable[[], None]:
    """TFRecords of tf.Example, parsed one by one; the id is the key."""
    handler = KeyedModelHandler(_warm_handler(job))
    steps = beam.Map(parsed), RunInference(handler), beam.Map(id_row)
    return to_parquet(job, ID_SCHEMA, beam.io.ReadFromTFRecord, *steps)


def parquet_files(job: Job) -> Callable[[], None]:
    """Parquet read a row at a time; the kept columns are the key."""
    handler = KeyedModelHandler(_warm_handler(job))
    steps = beam.Map(keyed), RunInference(handler), beam.Map(kept_row)
    return to_parquet(job, KEPT_SCHEMA, beam.io.ReadFromParquet, *steps)


def to_parquet(
    job: Job,
    schema: pa.Schema,
    read: Callable[[str], beam.PTransform],
    *steps: beam.PTransform,
) -> Callable[[], None]:
    """A pipeline from the case's input to Parquet files, run once over the input for warming up.

    Args:
      job: the run.
      schema: of the output.
      read: reads the files that a pattern names.
      steps: what leads from there to the rows to write, as dicts.
    """

    def score(source: Path, target: Path) -> None:
        pattern = f"{source}/*" if source.is_dir() else str(source)
        with beam.Pipeline(options=options()) as pipeline:
            scored = pipeline | read(pattern)
            for step in steps:
                scored |= step
            _ = scored | beam.io.WriteToParquet(
                str(target / "part"), schema, file_name_suffix=".parquet"
            )

    score(job.data / job.case.warm_input, job.output / "warm_output")
    return lambda: score(job.data / job.case.input, job.output / "output")


def _warm_handler(job: Job) -> LoadedModelHandler:
    model = load(job)
    model(np.zeros((16, *model.inputs[0].shape[1:]), np.float32))
    return LoadedModelHandler(str(job.model))


def parsed(record: bytes) -> tuple[int, np.ndarray]:
    """Id and features of a serialized tf.Example."""
    import tensorflow as tf

    feature = tf.train.Example.FromString(record).features.feature
    return (
        feature["id"].int64_list.value[0],
        np.array(feature["features"].float_list.value, np.float32),
    )


def id_row(result: tuple[int, Any]) -> dict[str, Any]:
    """What is written of a result whose key is the id."""
    return {"id": result[0], "scores": result[1].inference.numpy()}


def keyed(row: Mapping[str, Any]) -> tuple[tuple[Any, ...], np.ndarray]:
    """The kept columns and the features of a row."""
    return tuple(row[name] for name in KEPT.names), np.array(row["features"], np.float32)


def kept_row(result: tuple[tuple[Any, ...], Any]) -> dict[str, Any]:
    """What is written of a result whose key is the kept columns."""
    key, found = result
    return dict(zip(KEPT.names, key, strict=True)) | {"scores": found.inference.numpy()}
