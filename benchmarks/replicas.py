"""What running on many devices costs: one mirrored step, devices by themselves, plain models.

Every point is a process of its own with n logical CPUs, where the ways take turns; the points
take turns, too. ``python -m benchmarks.replicas`` measures, writes ``results/replicas.json`` and
its table in ``docs/replicas.md``; with ``--page`` it only writes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.marked_text import put_between

RESULTS = Path(__file__).parent / "results" / "replicas.json"
PAGE = Path(__file__).parent.parent / "docs" / "replicas.md"
BEGIN, END = "<!-- measured -->", "<!-- end -->"
COUNTS = (1, 2, 4, 8)
# Rows of one device's slice, and the width of three dense layers.
MODELS = {"tiny": (8, 16), "medium": (256, 512)}
ROUNDS = 3
_SECONDS = 0.25
_TURNS = 5
WAYS = {
    "mirrored": "mirrored step",
    "plain": "plain, 1 thread",
    "plain_threads": "plain, n threads",
    "independent": "independent",
}


def measure(model: str, count: int) -> dict[str, float]:
    """Microseconds for one slice on each of n devices, by way, in this process."""
    import keras
    import numpy as np
    import tensorflow as tf

    from transforms.engine.replicas import open_replicas
    from transforms.engine.signature import Signature, TensorField
    from transforms.engine.slicing import slice_for_replicas
    from transforms.engine.step import Step

    rows, width = MODELS[model]
    replicas = open_replicas("all", count)
    devices = [f"CPU:{index}" for index in range(count)]

    def build() -> Any:
        layers = [keras.layers.Dense(width, activation="relu") for _ in range(3)]
        return keras.Sequential([keras.Input((width,)), *layers])

    class Named:
        signature = Signature("benchmark", (TensorField("x", "float32", (width,)),))

        def __init__(self, call: Any) -> None:
            self._call = call

        def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return {"y": self._call(inputs["x"], training=False)}

    with replicas.strategy.scope():
        mirrored_model = Named(build())
    together = Step(mirrored_model, replicas, Named.signature.inputs)
    lanes = [Step(mirrored_model, part, Named.signature.inputs) for part in replicas.apart()]

    def trace_on(device: str) -> Any:
        with tf.device(device):
            bare = build()
        spec = tf.TensorSpec([None, width], tf.float32)
        call = tf.function(lambda x: bare(x, training=False), input_signature=[spec])
        return call.get_concrete_function(), bare

    plain = [trace_on(device) for device in devices]
    batch = np.random.default_rng(0).normal(size=(rows * count, width)).astype(np.float32)
    slices = slice_for_replicas({"x": batch}, count)

    def run_mirrored() -> None:
        for outputs in together(slices):
            outputs["y"].numpy()

    def run_plain(index: int) -> None:
        with tf.device(devices[index]):
            plain[index][0](tf.constant(slices[index]["x"])).numpy()

    def run_lane(index: int) -> None:
        lanes[index](slices[index : index + 1])[0]["y"].numpy()

    def one_after_other() -> None:
        for index in range(count):
            run_plain(index)

    with ThreadPoolExecutor(count) as pool:

        def each_by_itself(run: Callable[[int], None]) -> Callable[[int], float]:
            def many(times: int) -> float:
                def repeat(index: int) -> None:
                    for _ in range(times):
                        run(index)

                started = time.perf_counter()
                list(pool.map(repeat, range(count)))
                return time.perf_counter() - started

            return many

        def in_turn(run: Callable[[], None]) -> Callable[[int], float]:
            def many(times: int) -> float:
                started = time.perf_counter()
                for _ in range(times):
                    run()
                return time.perf_counter() - started

            return many

        ways = {
            "mirrored": in_turn(run_mirrored),
            "plain": in_turn(one_after_other),
            "plain_threads": each_by_itself(run_plain),
            "independent": each_by_itself(run_lane),
        }
        times = {way: max(1, int(_SECONDS / _TURNS / (run(3) / 3))) for way, run in ways.items()}
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(_TURNS):
            for way, run in ways.items():
                best[way] = min(best[way], run(times[way]) / times[way] * 1e6)
    return best


def measure_all() -> dict[str, Any]:
    """Every point, in processes of their own, some rounds of all of them."""
    points = [(model, count) for model in MODELS for count in COUNTS]
    found: dict[tuple[str, int], list[dict[str, float]]] = {point: [] for point in points}
    for _ in range(ROUNDS):
        for model, count in points:
            command = [sys.executable, "-m", "benchmarks.replicas", "--point", model, str(count)]
            environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env=environment
            )
            found[model, count].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        "cores": os.cpu_count(),
        "rounds": ROUNDS,
        "points": [
            {
                "model": model,
                "devices": count,
                "microseconds": {
                    way: round(statistics.median(run[way] for run in found[model, count]), 1)
                    for way in WAYS
                },
            }
            for model, count in points
        ],
    }


def table(results: dict[str, Any]) -> str:
    """The points as a Markdown table; times for one slice on each device, and ratios."""
    lines = [
        "| model | devices | " + " | ".join(f"{name}, µs" for name in WAYS.values())
        + " | mirrored / plain, 1 thread | mirrored / independent |",
        "|---|---|" + "---|" * (len(WAYS) + 2),
    ]  # fmt: skip
    for point in results["points"]:
        took = point["microseconds"]
        cells = [f"{took[way]:,.0f}" for way in WAYS]
        ratios = [took["mirrored"] / took[other] for other in ("plain", "independent")]
        cells += [f"{ratio:.2f}" for ratio in ratios]
        lines.append(f"| {point['model']} | {point['devices']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def written(page: str, results: dict[str, Any]) -> str:
    """The page of the documentation with these results between its marks."""
    cores, rounds = results["cores"], results["rounds"]
    said = f"Medians of {rounds} processes for each row, {cores} cores.\n\n{table(results)}"
    return put_between(page, BEGIN, END, f"\n{said}\n")


def main() -> None:
    """Measures and writes the page, or what the flags say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--point", nargs=2, metavar=("MODEL", "DEVICES"))
    parser.add_argument("--page", action="store_true", help="write the page from the results")
    options = parser.parse_args()
    if options.point:
        model, count = options.point
        sys.stdout.write(json.dumps(measure(model, int(count))) + "\n")
        return
    if not options.page:
        RESULTS.write_text(json.dumps(measure_all(), indent=1) + "\n")
    PAGE.write_text(written(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
