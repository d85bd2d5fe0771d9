"""Scores images of any size, resized and normalised on the device inside the model's step.

The preprocessing is traced into the same graph as the model. It sees whole slices, so that
``tf.image.resize`` runs once for many images, and only uint8 pixels travel to a GPU.

Run: python examples/device_preprocessing.py --input 'photos/*.png' --model model.keras --output out
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io import fileio
from apache_beam.options.pipeline_options import PipelineOptions

from transforms import MirroredInference, ModelSpec


def resize_and_normalise(size: tuple[int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function that turns uint8[n,height,width,3] into float32[n,*size,3] in [-1, 1].

    Its parameter is named as the column that it takes.
    """

    def preprocess(image: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.cast(image, tf.float32), size) / 127.5 - 1.0

    return preprocess


def decode(file: fileio.ReadableFile) -> dict[str, Any]:
    """One image file as a row: its path, and its pixels as uint8[height,width,3]."""
    pixels = tf.io.decode_image(file.read(), channels=3, expand_animations=False)
    return {"path": file.metadata.path, "image": pixels.numpy()}


def prediction_line(row: dict[str, Any]) -> str:
    """One scored row as JSON."""
    return json.dumps({name: np.asarray(value).tolist() for name, value in row.items()})


def run(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, runs the pipeline and waits for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--input", required=True, help="glob of image files")
    parser.add_argument("--model", required=True, help="a model of float32[?,height,width,3]")
    parser.add_argument("--output", required=True, help="prefix of the JSON lines files to write")
    parser.add_argument("--size", default="224,224", help="height,width that the model takes")
    parser.add_argument("--devices", default="all", help="all, or a list such as GPU:0,GPU:1")
    args, beam_flags = parser.parse_known_args(argv)
    devices = args.devices if args.devices == "all" else tuple(args.devices.split(","))
    height, width = (int(size) for size in args.size.split(","))

    with beam.Pipeline(options=PipelineOptions(beam_flags)) as pipeline:
        scored = (
            pipeline
            | fileio.MatchFiles(args.input)
            | fileio.ReadMatches()
            | "Decode" >> beam.Map(decode)
            | MirroredInference(
                ModelSpec(args.model),
                devices=devices,
                preprocess=resize_and_normalise((height, width)),
                input_spec={"image": tf.TensorSpec([None, None, 3], tf.uint8)},
                keep=["path"],
            )
        )
        _ = (
            scored.predictions
            | "AsJson" >> beam.Map(prediction_line)
            | "Write" >> beam.io.WriteToText(args.output, ".jsonl")
        )


if __name__ == "__main__":
    run()
