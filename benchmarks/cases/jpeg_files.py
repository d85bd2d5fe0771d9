"""Case e: JPEG files through a network of the size of MobileNetV2."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.cases.base import AHEAD_OF_PEERS, AS_FAST_AS_ITS_PARTS, Case, Entry, Job
from benchmarks.cases.mlp_files import INPUT, WARM_INPUT
from benchmarks.cases.table_files import write_arrays, write_expected
from benchmarks.contenders.traced import decode_jpeg
from benchmarks.measured import SEEN

SIDE = 256
_WARM_ROWS = 32
_RTOL, _ATOL = 1e-3, 1e-4


def save_model(path: Path) -> None:
    """Saves MobileNetV2, random: `image` uint8[n, 256, 256, 3] to `scores` float32[n, 1000]."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    body = keras.applications.MobileNetV2(
        input_shape=(SIDE, SIDE, 3), include_top=False, weights=None, pooling="avg"
    )
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image"),
            layers.Rescaling(1 / 127.5, -1),
            body,
            layers.Dense(1000, name="scores"),
        ]
    )
    # Untrained normalisation lets what tells images apart fade: it learns the statistics of some.
    normalisations = [
        layer for layer in body.layers if isinstance(layer, layers.BatchNormalization)
    ]
    for layer in normalisations:
        layer.momentum = 0.0
    model(np.stack([decode_jpeg(picture(number)) for number in range(16)]), training=True)
    for layer in normalisations:
        layer.momentum = 0.99
    model.save(path)


def picture(number: int) -> bytes:
    """A JPEG of quality 90: blurred spots of colour with grain."""
    import cv2
    from PIL import Image

    rng = np.random.default_rng(number)
    spots = rng.integers(0, 256, (12, 12, 3), np.uint8)
    pixels = cv2.resize(spots, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    grainy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grainy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def prepare(folder: Path, rows: int) -> None:
    """Writes one file a row, named by its id, and the pixels as Pillow decodes them."""
    from PIL import Image

    save_model(folder / "model.keras")
    pixels = np.empty((rows, SIDE, SIDE, 3), np.uint8)
    for part in (INPUT, WARM_INPUT):
        (folder / part).mkdir()
    for number in range(rows):
        encoded = picture(number)
        pixels[number] = np.asarray(Image.open(io.BytesIO(encoded)))
        for part in (INPUT, WARM_INPUT) if number < _WARM_ROWS else (INPUT,):
            (folder / part / f"{number:06d}.jpg").write_bytes(encoded)
    write_arrays(folder, {"image": pixels})
    write_expected(folder, 32)


def file_id(path: str) -> int:
    """The id of a file."""
    return int(Path(path).stem)


def check(job: Job) -> None:
    """Every file has the bare model's scores, once.

    Raises:
      ValueError: it has not.
    """
    import pyarrow.parquet as pq

    expected = np.load(job.data / "expected.npy")
    if not (job.output / "output").exists():
        SEEN.check(job.rows, float(expected[:, 0].sum(dtype=np.float64)))
        return
    ids: list[int] = []
    scores = []
    for path in (job.output / "output").rglob("*.parquet"):
        if "_mirrorbeam" not in path.parts:
            table = pq.read_table(path)
            own = "id" in table.column_names
            sources = table.column("id" if own else "_source").to_pylist()
            ids += sources if own else map(file_id, sources)
            column = table.column("scores").cast(pa.list_(pa.float32())).combine_chunks()
            scores.append(column.flatten().to_numpy().reshape(len(table), -1))
    if sorted(ids) != list(range(job.rows)):
        raise ValueError(f"expected files 0 to {job.rows}, each once. Received: {len(ids)} rows.")
    found = np.concatenate(scores)
    if not np.allclose(found, expected[ids], rtol=_RTOL, atol=_ATOL):
        raise ValueError(
            "expected the bare model's scores. Received: scores that are up to "
            f"{np.abs(found - expected[ids]).max()} off."
        )


CASE = Case(
    letter="e",
    name="jpeg_files",
    sentence="JPEG files of 256x256 through MobileNetV2 with random weights, to Parquet",
    clock="from listing the files to the finished output; the model is loaded, and "
    f"{_WARM_ROWS} files have been scored before. `bare` has decoded pixels in memory",
    prepare=prepare,
    check=check,
    entries={
        "bare": Entry("bare_named:arrays", 512, 2_048),
        "read": Entry("read:files", 512, 2_048),
        "mirrorbeam": Entry("mirrorbeam:files", 512, 2_048),
        "runinference": Entry("runinference_named:image_files", 128, 512),
        "runinference_tuned": Entry("runinference_named:tuned_image_files", 512, 2_048),
        "ray_data": Entry("ray_data:image_files", 512, 2_048, tree=True),
        "spark": Entry("spark:image_files", 512, 2_048, tree=True),
    },
    targets=(AS_FAST_AS_ITS_PARTS, *AHEAD_OF_PEERS),
    sweep_rows=(4, 16, 64),
    on_gpu=True,
)
