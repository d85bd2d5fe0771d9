"""What `--image_decode scaled` saves on large photos, and by how much it changes pixels.

JPEGs of 1024x1024 for a model of 224x224, made smooth and made grainy. Decoding is measured alone,
then read as `mirrorbeam score` reads it; the two ways take turns.

    python -m benchmarks.scaled_decode
"""

from __future__ import annotations

import io
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.machine import describe_machine
from pipelines.sources.base import ReadRequest
from pipelines.sources.images import ImageDecoding, ImagesSource
from pipelines.splits import InputFile
from transforms.images import decode_image

STORED, WANTED = 1024, 224
# Standard deviation of the noise, in levels of 255.
GRAINS = {"smooth": 0, "grainy": 8}
FILES, ROUNDS = 48, 5
RESULT = Path(__file__).parent / "results" / "scaled_decode.json"

_LOG = logging.getLogger(__name__)


def photo(seed: int, grain: float) -> bytes:
    """A JPEG of quality 90: blurred spots of colour, with noise on top."""
    import cv2
    from PIL import Image

    rng = np.random.default_rng(seed)
    spots = rng.integers(0, 256, (STORED // 48, STORED // 48, 3), np.uint8)
    pixels = cv2.resize(spots, (STORED, STORED), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(pixels + rng.normal(0, grain, pixels.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def differences(encoded: bytes) -> dict[str, float]:
    """Levels by which pixels differ at the wanted size, resized as the device does it.

    Both ways are also compared with what averaging all stored pixels gives.
    """
    import cv2

    full = decode_image(encoded, 3)
    scaled = decode_image(encoded, 3, least_size=(WANTED, WANTED))
    size = (WANTED, WANTED)
    from_full = cv2.resize(full, size, interpolation=cv2.INTER_LINEAR).astype(np.float64)
    from_scaled = cv2.resize(scaled, size, interpolation=cv2.INTER_LINEAR).astype(np.float64)
    averaged = cv2.resize(full, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    return {
        "mean": round(float(np.abs(from_scaled - from_full).mean()), 2),
        "largest": float(np.abs(from_scaled - from_full).max()),
        "scaled_to_average_mean": round(float(np.abs(from_scaled - averaged).mean()), 2),
        "full_to_average_mean": round(float(np.abs(from_full - averaged).mean()), 2),
    }


def decoding(files: list[bytes], least_size: tuple[int, int] | None) -> Callable[[], None]:
    """Decodes all files, one after the other."""

    def run() -> None:
        for encoded in files:
            decode_image(encoded, 3, least_size=least_size)

    return run


def reading(paths: list[Path], way: ImageDecoding) -> Callable[[], None]:
    """Reads all files to blocks, as a job does it."""
    files = [InputFile(str(path), path.stat().st_size) for path in paths]
    source = ImagesSource(way)
    plan = source.plan(files, 1 << 30)
    request = ReadRequest(plan.schema, fed={"image": None}, image_size=(WANTED, WANTED))
    prepared = source.prepared(request)

    def run() -> None:
        rows = sum(block.batch.num_rows for split in plan.splits for block in prepared.read(split))
        if rows != len(paths):
            raise RuntimeError(f"expected {len(paths)} images. Received: {rows}.")

    return run


def rates(runs: dict[str, Callable[[], None]]) -> dict[str, Any]:
    """Images per second of each way in turn, and the ratio."""
    seconds: dict[str, list[float]] = {way: [] for way in runs}
    for number in range(ROUNDS + 1):
        for way, run in runs.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[way].append(time.perf_counter() - started)
    found = {way: FILES / statistics.median(taken) for way, taken in seconds.items()}
    return {way: round(rate, 1) for way, rate in found.items()} | {
        "ratio": round(found["scaled"] / found["full"], 2)
    }


def main() -> None:
    """Measures and writes `benchmarks/results/scaled_decode.json`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found: dict[str, Any] = {}
    for name, grain in GRAINS.items():
        files = [photo(seed, grain) for seed in range(FILES)]
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{number:03}.jpg" for number in range(FILES)]
            for path, encoded in zip(paths, files, strict=True):
                path.write_bytes(encoded)
            ways = get_args(ImageDecoding)
            sizes = {"full": None, "scaled": (WANTED, WANTED)}
            found[name] = {
                "bytes_of_a_file": round(statistics.mean(map(len, files))),
                "levels": differences(files[0]),
                "decode_images_per_second": rates(
                    {way: decoding(files, sizes[way]) for way in ways}
                ),
                "read_images_per_second": rates({way: reading(paths, way) for way in ways}),
            }
        _LOG.info("%s: %s", name, found[name])
    figures = {"machine": describe_machine(), "stored": STORED, "wanted": WANTED, **found}
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
