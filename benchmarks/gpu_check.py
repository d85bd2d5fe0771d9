"""What a GPU does differently, checked on one in minutes: `make gpu-check`.

Every check is a process of its own. Five kinds of models are scored in each way and compared with
the CPU; memory is predicted and measured; a batch that does not fit is run into on purpose. Writes
a table to the standard output and figures to `benchmarks/results/gpu_check.json`; exit code 1 where
a check failed.

    python -m benchmarks.gpu_check              # on GPU:0
    python -m benchmarks.gpu_check --kind CPU   # tries the script itself
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gpu_check.json"
ROWS = 600
SECONDS = 240
# Of the largest output; TF32, on by default from Ampere on, keeps ten bits of a factor.
TF32_TOLERANCE, FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE = 1e-2, 1e-3, 1e-1
# How models are scored: options of a predictor, and what TensorFlow is told.
WAYS: dict[str, dict[str, Any]] = {
    "one device": {},
    "one device, no TF32": {"tf32": False, "tolerance": FLOAT32_TOLERANCE},
    "two logical devices": {"logical": 2},
    "two logical devices, independent": {"logical": 2, "dispatch": "independent"},
    "XLA": {"xla": True, "models": ("mlp", "cnn"), "gpu": True},
    "XLA, two logical devices": {
        "xla": True, "logical": 2, "models": ("mlp", "cnn"), "gpu": True,
    },
    "mixed_bfloat16": {"precision": "mixed_bfloat16", "tolerance": BFLOAT16_TOLERANCE},
    "all devices": {"devices": "all"},
}  # fmt: skip
FITTED = ("cnn", "attention")
# A device's memory where one runs out, and a batch that takes more of it.
SCARCE_MIB, SCARCE_ROWS = 1024, 1024


def save_models(folder: str) -> None:
    """Saves each model, its rows, and what it gives for them on the CPU."""
    import keras
    import numpy as np
    import tensorflow as tf

    from benchmarks.memory_models import MODELS, draw_rows
    from transforms.engine.signature import TensorField

    for name, build in MODELS.items():
        keras.utils.set_random_seed(1)
        model = build()
        model.save(f"{folder}/{name}.keras")
        given = model.inputs[0]
        field = TensorField(given.name, str(given.dtype), tuple(given.shape[1:]))
        (rows,) = draw_rows(field, ROWS).values()
        wanted = [
            model(tf.constant(rows[at : at + 50]), training=False) for at in range(0, ROWS, 50)
        ]
        np.savez(f"{folder}/{name}.npz", rows=rows, wanted=np.concatenate(wanted))


def agree(folder: str, kind: str, way: str) -> list[dict[str, Any]]:
    """Scores every model in one way; how far it is from the CPU, and how long a batch takes."""
    import keras
    import numpy as np
    import tensorflow as tf

    from transforms.engine.model import ModelSpec
    from transforms.engine.opening import PredictorConfig, open_predictor, predictor_of

    options = WAYS[way]
    tf.config.experimental.enable_tensor_float_32_execution(options.get("tf32", True))
    logical = options.get("logical")
    names = tuple(f"{kind}:{index}" for index in range(logical or 1))
    found = []
    for name in options.get("models", ("mlp", "cnn", "lstm", "embedding", "attention")):
        stored = np.load(f"{folder}/{name}.npz", allow_pickle=True)
        config = PredictorConfig(
            ModelSpec(f"{folder}/{name}.keras"),
            devices=options.get("devices", names),
            logical_devices=logical,
            precision=options.get("precision"),
            xla=options.get("xla", False),
            dispatch=options.get("dispatch", "mirrored"),
            rows=64,
        )
        started = time.perf_counter()
        lease = open_predictor(config)
        predictor = predictor_of(lease)
        ready = time.perf_counter() - started
        column = predictor.signature.inputs[0].name
        rows, wanted = stored["rows"], stored["wanted"]
        # Uneven groups, so that batches are joined, cut and padded; XLA compiles every size.
        cuts = [0, 1, 130, 131, 400, ROWS]
        if options.get("xla"):
            cuts, wanted = [0, 64, 128], wanted[:128]
        futures = [
            predictor.submit({column: rows[first:last]}) for first, last in itertools.pairwise(cuts)
        ]
        scored = [future.result() for future in futures]
        got = np.concatenate([next(iter(part.outputs.values())) for part in scored])
        magnitude = float(np.abs(wanted).max())
        batch = {column: rows[:64]}
        alone = min(predictor.time_batch(batch) for _ in range(10))
        for _ in range(2):
            started = time.perf_counter()
            for future in [predictor.submit(batch) for _ in range(50)]:
                future.result()
            in_a_row = (time.perf_counter() - started) / 50
        difference = float(np.abs(got.astype(np.float64) - wanted).max()) / magnitude
        tolerance = options.get("tolerance", TF32_TOLERANCE)
        failed = sum(len(part.errors) for part in scored)
        found.append(
            {
                "check": f"{way}: {name}",
                "ok": difference <= tolerance and not failed and len(got) == len(wanted),
                "said": f"differs by {difference:.1e} of {tolerance:.0e}; ready in {ready:.1f} s; "
                f"a batch {alone * 1e3:.2f} ms, in a row {in_a_row * 1e3:.2f} ms; "
                f"{', '.join(name.rsplit('device:')[-1] for name in predictor.replicas.devices)}",
            }
        )
        lease.release()
        keras.backend.clear_session()
    return found


def fit_memory(kind: str, name: str) -> list[dict[str, Any]]:
    """Predicted against measured peaks of a model."""
    from benchmarks.memory_fit import measure

    figures = measure(name, [f"{kind}:0"], 1 << 30)
    last = figures["batches"][-1]
    off = last["predicted_bytes"] / last["measured_bytes"] - 1
    refined = last["refined_bytes"] / last["measured_bytes"] - 1
    said = (
        f"{last['rows']} rows: measured {last['measured_bytes'] >> 20} MiB, predicted {off:+.0%}, "
        f"refined {refined:+.0%}; bytes a row {figures['bytes_per_row']}"
    )
    return [{"check": f"memory: {name}", "ok": off >= -0.25, "said": said, "figures": figures}]


def run_out(folder: str, kind: str, rows: str) -> list[dict[str, Any]]:
    """Scores in a device of little memory, with a batch that is too large or one that is found."""
    import numpy as np
    import tensorflow as tf

    from transforms.engine.device_limits import limit_bytes
    from transforms.engine.model import ModelSpec
    from transforms.engine.opening import PredictorConfig, open_predictor, predictor_of
    from transforms.engine.replicas import open_replicas

    if kind == "GPU":
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        small = tf.config.LogicalDeviceConfiguration(memory_limit=SCARCE_MIB)
        gpus = tf.config.list_physical_devices("GPU")
        tf.config.set_logical_device_configuration(gpus[0], [small])
    stored = np.load(f"{folder}/cnn.npz")
    limit = limit_bytes(open_replicas((f"{kind}:0",)))
    lease = open_predictor(
        PredictorConfig(
            ModelSpec(f"{folder}/cnn.keras"),
            devices=(f"{kind}:0",),
            rows="auto" if rows == "auto" else int(rows),
        )
    )
    predictor = predictor_of(lease)
    many = np.tile(stored["rows"], (10, 1, 1, 1))
    started = time.perf_counter()
    scored = predictor.predict({"image": many})
    seconds = time.perf_counter() - started
    wanted = np.tile(stored["wanted"], (10, 1))
    got = next(iter(scored.outputs.values()))
    right = len(got) == len(wanted) and np.abs(got - wanted).max() <= TF32_TOLERANCE
    statistics = predictor.statistics
    failures = statistics.out_of_memory
    # Of the CPU's allocator no limit is known before it is met.
    met = failures > 0 if rows != "auto" else failures == 0 or kind == "CPU"
    said = (
        f"{failures} failed for memory; at most {max(statistics.batches)} rows in a batch; "
        f"limit {limit >> 20} MiB; {len(scored.errors)} rows failed; {seconds:.1f} s"
    )
    return [{"check": f"out of memory: {rows} rows", "ok": bool(right and met), "said": said}]


def apart(call: str, folder: str, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Makes a call of this module in a process of its own."""
    program = f"import json, sys; from benchmarks import gpu_check as c; found = {call}\n"
    program += "sys.stdout.write('\\n' + json.dumps(found))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=SECONDS,
            env={"TF_CPP_MIN_LOG_LEVEL": "2"}
            | os.environ
            | environment
            | {"XDG_CACHE_HOME": folder},
        )
    except subprocess.TimeoutExpired:
        return [{"check": call, "ok": False, "said": f"not done after {SECONDS} s"}]
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        said = f"exit code {done.returncode}: {lines[-1][:300]}"
        return [{"check": call, "ok": False, "said": said, "log": lines[-60:]}]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def checks(folder: str, kind: str, chosen: str) -> list[Callable[[], list[dict[str, Any]]]]:
    """Every check as a call."""
    plain: dict[str, str] = {}
    calls: list[tuple[str, dict[str, str]]] = [
        (f"c.agree({folder!r}, {kind!r}, {way!r})", plain)
        for way, options in WAYS.items()
        if kind == "GPU" or not options.get("gpu")
    ]
    calls += [(f"c.fit_memory({kind!r}, {name!r})", plain) for name in FITTED]
    limited = plain
    if kind == "CPU":
        limited = {
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "TF_CPU_ALLOCATOR_USE_BFC": "1",
            "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(SCARCE_MIB),
        }
    calls += [
        (f"c.run_out({folder!r}, {kind!r}, {rows!r})", limited)
        for rows in (str(SCARCE_ROWS), "auto")
    ]
    return [
        lambda call=call, more=more: apart(call, folder, more)
        for call, more in calls
        if chosen in call
    ]


def main() -> int:
    """Runs the checks; gives the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=("GPU", "CPU"), default="GPU")
    parser.add_argument("--only", default="", help="checks whose call has this in it")
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    gpus: tuple[str, ...] = ()
    if arguments.kind == "GPU":
        from benchmarks.run import gpu_names

        gpus = gpu_names()
        if not gpus:
            sys.stderr.write(
                "expected a GPU that TensorFlow sees. Received: none. Install the extra gpu and "
                "look at nvidia-smi; --kind CPU tries this script without one.\n"
            )
            return 2
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        apart(f"c.save_models({folder!r}) or []", folder, {"CUDA_VISIBLE_DEVICES": "-1"})
        for check in checks(folder, arguments.kind, arguments.only):
            for each in check():
                found.append(each)
                sys.stdout.write(
                    f"{'ok    ' if each['ok'] else 'FAILED'} {each['check']}: {each['said']}\n"
                )
                sys.stdout.flush()
    figures = {"machine": describe_machine(gpus), "checks": found}
    arguments.result.write_text(json.dumps(figures, indent=1) + "\n")
    return int(not found or not all(each["ok"] for each in found))


if __name__ == "__main__":
    sys.exit(main())
