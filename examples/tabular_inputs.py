"""Scores CSV lines with a model of several inputs, numbers and text, each fed from its own column.

The model's inputs are ``age``, ``income`` and ``city``. A column with another name is mapped, and
``customer``, which the model does not take, is kept beside the prediction.

Run: python examples/tabular_inputs.py --input customers.csv --model model.keras --output out
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from transforms import MirroredInference, ModelSpec

COLUMNS = ("customer", "age", "yearly_income", "city")


def parse(line: str) -> dict[str, Any]:
    """One CSV line as a row; without its number it becomes a failure record, not a guess."""
    row: dict[str, Any] = dict(zip(COLUMNS, next(csv.reader([line])), strict=True))
    for column in ("age", "yearly_income"):
        row[column] = np.float32(row[column]) if row[column] else None
    return row


def as_json(values: dict[str, Any]) -> str:
    """A prediction or a failure record as one line."""
    return json.dumps(values, default=lambda value: np.asarray(value).tolist())


def run(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, runs the pipeline and waits for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--input", required=True, help=f"CSV with the columns {','.join(COLUMNS)}")
    parser.add_argument("--model", required=True, help="a model of age, income and city")
    parser.add_argument("--output", required=True, help="prefix of the JSON lines files to write")
    parser.add_argument("--devices", default="all", help="all, or a list such as GPU:0,GPU:1")
    args, beam_flags = parser.parse_known_args(argv)
    devices = args.devices if args.devices == "all" else tuple(args.devices.split(","))

    with beam.Pipeline(options=PipelineOptions(beam_flags)) as pipeline:
        scored = (
            pipeline
            | beam.io.ReadFromText(args.input, skip_header_lines=1)
            | "Parse" >> beam.Map(parse)
            | MirroredInference(
                ModelSpec(args.model),
                devices=devices,
                input_map={"income": "yearly_income"},
                keep=["customer"],
            )
        )
        for name, rows in (("scored", scored.predictions), ("failed", scored.failures)):
            _ = (
                rows
                | f"{name}AsJson" >> beam.Map(as_json)
                | f"{name}Write" >> beam.io.WriteToText(f"{args.output}-{name}", ".jsonl")
            )


if __name__ == "__main__":
    run()
