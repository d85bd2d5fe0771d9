"""Predicted against measured memory, on models of five kinds.

Each model has a process of its own, so that its allocator is clean. There the predictor's own
look at it is taken (`measure_step`: the trace, and a few small batches within half a second); then
larger and larger batches run, and their peaks are compared with what was predicted.

    python -m benchmarks.memory_fit
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "memory_fit.json"
PAGE_FILE = ROOT / "docs" / "memory.md"
# What the largest batch is to take, as estimated; the others are halves of it in turn.
LARGEST_BYTES = 2 << 30
SIZES = 5

PAGE = """# Memory of a batch

How many rows fit a device is predicted before the first batch, and corrected by every batch that
is measured. A replica's peak is taken as a line, `fixed + rows × bytes per row`:

* **The trace** gives an estimate without running anything: operation by operation, what lives at
  once. Called functions are followed; loops count what all their turns keep.
* **Probes** run on the device: one row, then as many as should show, within half a second.
* **The prediction** lies above every measured peak. It is as steep as the trace says, or up to a
  quarter steeper where probes say so. Once measured peaks differ by 256 MiB, they alone decide.

TensorFlow's allocator hands out whole chunks and leaves up to 128 MiB of one unused. A peak is
therefore more than what tensors ask for, and not by the same share at every size, so that small
batches say little about large ones. The trace's figures have 7 % in them for that. On a CPU blocks
below 256 KiB are not counted at all.

Written by `python -m benchmarks.memory_fit` on {machine}. Each model had a process of its own.

## Bytes per row

*Asked* is what tensors asked for, as the allocator's own trace tells.

| model | asked | trace | probes alone | predicted | trace against asked |
|---|---|---|---|---|---|
{slopes}

## Predicted against measured peaks

In MiB, with the error against the measured peak. Predictions were made before the first of these
batches; *refined* is what was predicted after the one before, of half the rows.

| model | rows | asked | measured | trace | probes alone | predicted | refined |
|---|---|---|---|---|---|---|---|
{batches}

A batch is planned for at most 0.8 of what a device allows. One that does not fit after all is run
again in smaller ones.

## Where the trace is off

* Work space inside kernels (cuDNN, oneDNN) and the text of strings are not in it.
* Tensors of a size that only values tell count as one entry a row: ragged rows, boolean masks,
  loops that turn until a condition holds. Loops of TensorFlow 1 count as one turn.
* Branches that run at the same time are taken one operation after the other. Where several are
  wide, as in Inception, up to a fifth is missing.
* Recurrent loops on a CPU run ahead of their turn as far as they can, which changes from run to
  run by up to a fifth.
"""

_LOG = logging.getLogger(__name__)


def measure(name: str, devices: list[str], largest_bytes: int) -> dict[str, Any]:
    """Predicts and measures one model, in this process.

    Args:
      name: of `memory_models`.
      devices: to run on.
      largest_bytes: about what the largest batch takes on a device.
    """
    from benchmarks.allocations import asked_bytes
    from benchmarks.memory_models import MODELS, draw_rows
    from transforms.engine.liveness import static_fit
    from transforms.engine.loading import load_model
    from transforms.engine.memory import PeakMeter, fit
    from transforms.engine.memory_probe import measure_step
    from transforms.engine.model import ModelSpec
    from transforms.engine.replicas import open_replicas
    from transforms.engine.step import Step

    replicas = open_replicas(devices)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/{name}.keras"
        MODELS[name]().save(path)
        model = load_model(ModelSpec(path), replicas.strategy)
    step = Step(model, replicas, model.signature.inputs)
    (field,) = model.signature.inputs
    row = draw_rows(field, 1)
    started = time.perf_counter()
    memory = measure_step(step, replicas, row)
    seconds = time.perf_counter() - started
    shapes = {key: values.shape[1:] for key, values in row.items()}
    estimate = static_fit(step, shapes, replicas.kind)
    predicted = memory.fit
    assert predicted is not None, "nothing is known of the model's memory"
    probes = memory.points
    alone = fit(probes) if probes else None
    meter = PeakMeter(replicas)
    largest = max(1 << SIZES, int(largest_bytes / estimate.bytes_per_row))
    batches, asked = [], []
    for rows in (largest >> shift for shift in reversed(range(SIZES))):
        slices = [draw_rows(field, rows)]
        run = functools.partial(run_to_the_end, step, slices * replicas.count)
        run()
        _, peak_bytes = meter.measure(run)
        if peak_bytes is None:
            raise RuntimeError("expected an allocator with statistics. Received: one without.")
        refined = memory.fit
        assert refined is not None
        memory.observe(rows, peak_bytes)
        # All logical CPUs ask one allocator, each GPU its own.
        askers = replicas.count if replicas.kind == "CPU" else 1
        asked.append((rows, math.ceil(asked_bytes(run) / askers)))
        batches.append(
            {
                "rows": rows,
                "asked_bytes": asked[-1][1],
                "measured_bytes": peak_bytes,
                "trace_bytes": estimate.bytes_for(rows),
                "probes_bytes": alone.bytes_for(rows) if alone else None,
                "predicted_bytes": predicted.bytes_for(rows),
                "refined_bytes": refined.bytes_for(rows),
            }
        )
    return {
        "model": name,
        "kind": replicas.kind,
        "probes": probes,
        "probe_seconds": round(seconds, 2),
        "bytes_per_row": {
            "asked": round(fit(asked).bytes_per_row),
            "trace": round(estimate.bytes_per_row),
            "probes": round(alone.bytes_per_row) if alone else None,
            "predicted": round(predicted.bytes_per_row),
        },
        "batches": batches,
    }


def run_to_the_end(step: Any, slices: list[Any]) -> None:
    """Runs a step and waits for its outputs."""
    for outputs in step(slices):
        for tensor in outputs.values():
            tensor.numpy()


def measure_apart(name: str, devices: list[str], largest_bytes: int) -> dict[str, Any]:
    """Measures a model in a process of its own."""
    call = f"json.dumps(measure({name!r}, {devices!r}, {largest_bytes}))"
    program = (
        f"import json, sys; from benchmarks.memory_fit import measure; sys.stdout.write({call})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(figures: dict[str, Any]) -> str:
    """The page of docs that shows the figures."""
    slopes = [
        f"| {found['model']} | "
        + " | ".join(
            f"{found['bytes_per_row'][key]:,}" for key in ("asked", "trace", "probes", "predicted")
        )
        + f" | {found['bytes_per_row']['trace'] / found['bytes_per_row']['asked'] - 1:+.0%} |"
        for found in figures["models"]
    ]
    batches = [
        f"| {found['model']} | {batch['rows']:,} | {batch['asked_bytes'] / 2**20:,.0f} | "
        f"{batch['measured_bytes'] / 2**20:,.0f} | "
        + " | ".join(
            f"{batch[key] / 2**20:,.0f} ({batch[key] / batch['measured_bytes'] - 1:+.0%})"
            for key in ("trace_bytes", "probes_bytes", "predicted_bytes", "refined_bytes")
        )
        + " |"
        for found in figures["models"]
        for batch in found["batches"]
    ]
    return PAGE.format(
        machine=figures["machine"], slopes="\n".join(slopes), batches="\n".join(batches)
    )


def main() -> None:
    """Measures, and writes the figures and the page of docs."""
    from benchmarks.memory_models import MODELS

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", default="CPU:0", help="names, separated by commas")
    parser.add_argument("--largest_bytes", type=int, default=LARGEST_BYTES)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--page", type=Path, default=PAGE_FILE)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    devices = arguments.devices.split(",")
    models = []
    for name in MODELS:
        models.append(measure_apart(name, devices, arguments.largest_bytes))
        _LOG.info("%s", json.dumps(models[-1]))
    figures = {
        "machine": f"{', '.join(devices)}; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, TensorFlow {metadata.version('tensorflow')}",
        "models": models,
    }
    arguments.result.parent.mkdir(exist_ok=True)
    arguments.result.write_text(json.dumps(figures, indent=2) + "\n")
    arguments.page.write_text(table(figures))


if __name__ == "__main__":
    main()
