"""RunInference of tfx-bsl, which takes serialized tf.Examples and gives PredictionLogs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from benchmarks.cases.base import Job
from benchmarks.contenders.runinference import ID_SCHEMA, to_nothing, to_parquet
from benchmarks.measured import SEEN
from benchmarks.models import EXAMPLES_MODEL


def blocks(job: Job) -> Callable[[], None]:
    """Rows of the in-memory generator as tf.Examples, one an element."""
    return to_nothing(job, examples, inference(job), see)


def inference(job: Job) -> beam.PTransform:
    """The transform; it loads its model itself, inside the clock."""
    from tfx_bsl.public.beam import RunInference
    from tfx_bsl.public.proto import model_spec_pb2

    spec = model_spec_pb2.SavedModelSpec(model_path=str(job.data / EXAMPLES_MODEL))
    return RunInference(model_spec_pb2.InferenceSpecType(saved_model_spec=spec))


def output(log: Any, name: str) -> np.ndarray:
    """One output of a row, without the dimension of rows."""
    tensor = log.predict_log.response.outputs[name]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, np.float32)
    return np.array(tensor.float_val or tensor.int64_val)


def examples(spec: tuple[int, int]) -> Iterator[bytes]:
    """The generator's rows as serialized tf.Examples, by tfx-bsl's own encoder."""
    import pyarrow as pa
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    from benchmarks.cases.record_batches import generate

    encoder = RecordBatchToExamplesEncoder()
    for block in generate(*spec, 4096):
        offsets = np.arange(len(block) + 1, dtype=np.int32) * block.shape[1]
        column = pa.ListArray.from_arrays(offsets, block.reshape(-1))
        yield from encoder.encode(pa.RecordBatch.from_arrays([column], names=["features"]))


def see(log: Any) -> None:
    """Counts a result."""
    SEEN.row(output(log, "scores"))


def example_files(job: Job) -> Callable[[], None]:
    """TFRecords of tf.Example; the model passes the id on."""
    steps = inference(job), beam.Map(example_row)
    return to_parquet(job, ID_SCHEMA, beam.io.ReadFromTFRecord, *steps)


def example_row(log: Any) -> dict[str, Any]:
    """What is written of a result."""
    return {"id": int(output(log, "id")[0]), "scores": output(log, "scores")}
