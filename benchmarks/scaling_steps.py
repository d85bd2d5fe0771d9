"""The steps of a large job that `benchmarks.scaling` measures one by one."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.models import save_mlp
from benchmarks.scaling_inputs import FEATURES, INPUTS, committed, parquet_files, table
from pipelines.fingerprint import FINGERPRINT_PARTS, fingerprint, input_mark
from pipelines.finish import finish_job
from pipelines.inputs import match_files
from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan
from pipelines.sinks import sink_class
from pipelines.sources import source_class
from pipelines.split_writer import SplitWriter
from pipelines.splits import Split, numbered
from transforms.block import Block

# What an object store in the same region takes to answer, about.
WAIT_SECONDS = 0.05

Clock = Callable[[str], AbstractContextManager[None]]


def _plan(splits: tuple[Split, ...], inputs: Any = None) -> JobPlan:
    parts = dict.fromkeys(FINGERPRINT_PARTS) | {"inputs": inputs}
    return JobPlan(splits, "row", {}, "parquet", fingerprint(parts), {}, 0.01, 1_700_000_000.0)


def plan(clock: Clock, folder: Path, kind: str) -> dict[str, Any]:
    """Everything that the driver does for an input before the runner gets the job."""
    import apache_beam as beam

    from pipelines.image_padding import sizes_differ
    from pipelines.planned_splits import PlannedSplits

    _, name, split_bytes = INPUTS[kind]
    flags = argparse.ArgumentParser()
    source_class(name).add_arguments(flags)
    source = source_class(name).from_args(flags.parse_args([]))
    with clock("all"):
        with clock("match"):
            _, files = match_files([str(folder / kind)], name)
        with clock("plan"):
            planned = source.plan(files, split_bytes)
            splits = source.marked(planned.splits, files)
            if name == "images":
                sizes_differ(files)
        with clock("fingerprint"):
            made = _plan(splits, input_mark(files))
        output = OutputFolder(str(folder / "out"))
        with clock("write"):
            output.begin(made, None)
        with clock("pipeline"):
            pipeline = beam.Pipeline(runner="FnApiRunner")
            _ = pipeline | PlannedSplits(output.path)
            graph_bytes = pipeline.to_runner_api().ByteSize()
    with clock("read"):
        output.read_plan()
    size_bytes = os.path.getsize(output.plan)
    output.clear(made)
    return {
        "files": len(files),
        "splits": len(made.splits),
        "plan_bytes": size_bytes,
        "graph_bytes": graph_bytes,
    }


def make(clock: Clock, folder: Path, kind_and_count: str) -> dict[str, Any]:
    """Makes the input of `plan`; nothing is measured."""
    kind, _, count = kind_and_count.partition("=")
    INPUTS[kind][0](folder / kind, int(count))
    return {}


def finish(clock: Clock, folder: Path, splits: str) -> dict[str, Any]:
    """The last transform on a local disk, which reads every part again; and `--overwrite`."""
    output = OutputFolder(str(folder / "out"))
    made = _tiny_splits(int(splits))
    output.begin(made, None)
    committed(made, output)
    with clock("finish"):
        plan = output.read_plan()
        assert plan is not None
        report = finish_job(plan, output)
    if not report["succeeded"]:
        raise RuntimeError(f"expected a job that succeeds. Received: {report['reasons'][:3]}")
    with clock("clear"):
        output.clear(made)
    return {"splits": len(made.splits), "rows": report["rows_in"]}


def remote(clock: Clock, folder: Path, splits: str) -> dict[str, Any]:
    """The same where every request waits 50 ms, and what one commit asks such a store."""
    from benchmarks.slow_storage import REQUESTS

    output = OutputFolder("slow://bucket/out")
    made = _tiny_splits(int(splits))
    sink = sink_class("parquet")()
    batch = table(10).combine_chunks().to_batches()[0]
    for split in made.splits:
        writer = SplitWriter(output, sink, split, batch.schema)
        block = Block(_with_origin(batch, split), (), split)
        writer.add(block)
        writer.commit(batch.num_rows)
    asked = {kind: times / len(made.splits) for kind, times in REQUESTS.counts.items()}
    REQUESTS.counts.clear()
    REQUESTS.wait_seconds = WAIT_SECONDS
    with clock("finish"):
        report = finish_job(made, output)
    asked_by_finish = REQUESTS.counts.total() / len(made.splits)
    if not report["succeeded"]:
        raise RuntimeError(f"expected a job that succeeds. Received: {report['reasons'][:3]}")
    REQUESTS.counts.clear()
    with clock("clear"):
        output.clear(made)
    return {
        "splits": len(made.splits),
        "wait_seconds": WAIT_SECONDS,
        "requests_a_commit": asked,
        "requests_a_split_at_the_finish": round(asked_by_finish, 3),
        "requests_a_split_to_clear": round(REQUESTS.counts.total() / len(made.splits), 3),
    }


def splits(clock: Clock, folder: Path, _: str) -> dict[str, Any]:
    """What a split costs beside its rows: jobs of few and of many tiny files."""
    save_mlp(folder / "mlp.keras")
    few, many = 200, 4200
    took = {}
    for count in (few, many):
        parquet_files(folder / f"files-{count}", count)
        took[count] = _score(folder, f"files-{count}", "mlp.keras", ["--input_map", "features=x"])
    return {
        "splits": many - few,
        "seconds_a_split": (took[many][0] - took[few][0]) / (many - few),
        "cpu_seconds_a_split": (took[many][1] - took[few][1]) / (many - few),
    }


def rows(clock: Clock, folder: Path, _: str) -> dict[str, Any]:
    """What a row costs: Parquet to Parquet, one file against many of the same."""
    save_mlp(folder / "mlp.keras")
    file_rows, files = 400_000, 12
    for count in (1, files + 1):
        below = folder / f"rows-{count}"
        below.mkdir()
        for index in range(count):
            pq.write_table(table(file_rows), below / f"{index}.parquet", use_dictionary=False)
    mapped = ["--input_map", "features=x"]
    one, all_of_them = (
        _score(folder, f"rows-{count}", "mlp.keras", mapped) for count in (1, files + 1)
    )
    more = file_rows * files
    input_bytes = os.path.getsize(folder / "rows-1" / "0.parquet")
    output_bytes = sum(path.stat().st_size for path in (folder / "out-rows-1").glob("part-*"))
    return {
        "rows": more,
        "seconds_a_row": (all_of_them[0] - one[0]) / more,
        "cpu_seconds_a_row": (all_of_them[1] - one[1]) / more,
        "input_bytes_a_row": input_bytes / file_rows,
        "output_bytes_a_row": output_bytes / file_rows,
    }


def images(clock: Clock, folder: Path, _: str) -> dict[str, Any]:
    """What a JPEG of 256 by 256 pixels costs with MobileNetV2, at 224 by 224."""
    import cv2
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2(weights=None).save(folder / "cnn.keras")
    rng = np.random.default_rng(0)
    few, many = 100, 700
    for count in (few, many):
        below = folder / f"images-{count}"
        below.mkdir()
        for index in range(count):
            small = rng.integers(0, 255, (16, 16, 3), np.uint8)
            cv2.imwrite(str(below / f"{index}.jpg"), cv2.resize(small, (256, 256)))
    size = sum(path.stat().st_size for path in (folder / f"images-{many}").iterdir())
    first, second = (_score(folder, f"images-{count}", "cnn.keras", []) for count in (few, many))
    return {
        "rows": many - few,
        "seconds_a_row": (second[0] - first[0]) / (many - few),
        "cpu_seconds_a_row": (second[1] - first[1]) / (many - few),
        "input_bytes_a_row": size / many,
    }


def start(clock: Clock, folder: Path, _: str) -> dict[str, Any]:
    """A job of 100 rows against a script that imports the same, loads the model and runs a step."""
    save_mlp(folder / "mlp.keras")
    (folder / "start").mkdir()
    pq.write_table(table(100), folder / "start" / "rows.parquet")
    floor = (
        "import sys, numpy as np, tensorflow as tf, apache_beam, keras\n"
        "model = keras.models.load_model(sys.argv[1], compile=False)\n"
        "spec = tf.TensorSpec((None, int(sys.argv[2])), tf.float32)\n"
        "step = tf.function(lambda x: model(x, training=False), input_signature=[spec])\n"
        "step(np.zeros((100, int(sys.argv[2])), np.float32)).numpy()\n"
    )
    job_seconds, floor_seconds = [], []
    for _round in range(6):
        began = time.perf_counter()
        command = [sys.executable, "-c", floor, str(folder / "mlp.keras"), str(FEATURES)]
        subprocess.run(command, check=True, capture_output=True)
        floor_seconds.append(time.perf_counter() - began)
        taken = _score(folder, "start", "mlp.keras", ["--input_map", "features=x", "--overwrite"])
        job_seconds.append(taken[0])
    # The first round reads Python's files from the disk.
    job, bare = statistics.median(job_seconds[1:]), statistics.median(floor_seconds[1:])
    return {
        "seconds": round(job, 2),
        "range_seconds": [round(min(job_seconds[1:]), 2), round(max(job_seconds[1:]), 2)],
        "floor_seconds": round(bare, 2),
        "ratio": round(job / bare, 3),
    }


def _score(folder: Path, name: str, model: str, flags: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of `mirrorbeam score`."""
    command = [
        sys.executable, "-m", "pipelines", "score", "--input", str(folder / name), "--model",
        str(folder / model), "--output", str(folder / f"out-{name}"), *flags,
    ]  # fmt: skip
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system
    return seconds, cpu - before.children_user - before.children_system


def _tiny_splits(count: int) -> JobPlan:
    names = (f"gs://bucket/folder/file-{index:08d}.parquet" for index in range(count))
    return _plan(numbered([Split(index, (name,)) for index, name in enumerate(names)]))


def _with_origin(batch: Any, split: Split) -> Any:
    import pyarrow as pa

    origin = pa.repeat(pa.scalar(split.files[0]), batch.num_rows)
    return batch.append_column("_source", origin).append_column("_row", batch.column("id"))


STEPS = {
    "make": make, "plan": plan, "finish": finish, "remote": remote, "splits": splits, "rows": rows,
    "images": images, "start": start,
}  # fmt: skip
