"""Counts how often a classifier sees each class in Parquet files, in a pipeline of your own.

Each row group becomes one table, is scored on every device that this process has, and is then an
ordinary element again. Rows that cannot be scored are written as JSON lines.

Run: python examples/custom_pipeline.py --input 'data/*.parquet' --model model.keras --output counts
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from transforms import MirroredInference, ModelSpec


def likeliest_classes(table: pa.Table, column: str) -> Iterator[tuple[int, int]]:
    """Yields (class, rows of it) for a table whose ``column`` holds one list of scores a row."""
    scores = table[column].combine_chunks()
    by_row = scores.flatten().to_numpy().reshape(-1, scores.type.list_size)
    classes, counts = np.unique(by_row.argmax(axis=-1), return_counts=True)
    yield from zip(classes.tolist(), counts.tolist(), strict=True)


def failure_line(failure: dict[str, Any]) -> str:
    """One failure record as JSON, without the row itself."""
    return json.dumps({name: failure[name] for name in ("stage", "error", "message")})


def run(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, runs the pipeline and waits for it.

    Flags that are not listed here go to Beam: ``--runner``, ``--project`` and so on.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--input", required=True, help="glob of Parquet files")
    parser.add_argument("--model", required=True, help="a classifier with one output")
    parser.add_argument("--output", required=True, help="prefix of the text files to write")
    parser.add_argument("--scores", default="scores", help="the name of the model's output")
    parser.add_argument("--devices", default="all", help="all, or a list such as GPU:0,GPU:1")
    args, beam_flags = parser.parse_known_args(argv)
    devices = args.devices if args.devices == "all" else tuple(args.devices.split(","))

    with beam.Pipeline(options=PipelineOptions(beam_flags)) as pipeline:
        scored = (
            pipeline
            | beam.io.ReadFromParquetBatched(args.input)
            | MirroredInference(ModelSpec(args.model), devices=devices)
        )
        _ = (
            scored.predictions
            | "Likeliest" >> beam.FlatMap(likeliest_classes, column=args.scores)
            | "Count" >> beam.CombinePerKey(sum)
            | "AsText" >> beam.MapTuple(lambda label, rows: f"{label}\t{rows}")
            | "WriteCounts" >> beam.io.WriteToText(args.output, ".tsv")
        )
        _ = (
            scored.failures
            | "AsJson" >> beam.Map(failure_line)
            | "WriteFailures" >> beam.io.WriteToText(args.output + "-failed", ".jsonl")
        )


if __name__ == "__main__":
    run()
