"""Jobs that are really bound by one thing, and what their reports say of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import CompressionTypes, FileMetadata

from pipelines.cli import main
from pipelines.verdict import describe_verdict, judge, merged_stages
from tests.filesystem import ShelfFileSystem
from tests.pipelines.outputs import read_report
from transforms.engine.stage_times import STAGES

pytestmark = pytest.mark.usefixtures("logical_cpus")

SECONDS_PER_BYTE = 0.3e-6


class SlowFileSystem(ShelfFileSystem):
    """Reads 3 MB a second, as over a network."""

    @classmethod
    def scheme(cls) -> str:
        return "tardy"

    def open(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> BinaryIO:
        file = super().open(path.replace("tardy://", "shelf://"), mime_type, compression_type)
        return _SlowFile(file)  # type: ignore[return-value]

    def match(self, patterns: list[str], limits: list[int] | None = None) -> Any:
        found = super().match([text.replace("tardy://", "shelf://") for text in patterns], limits)
        for result in found:
            for metadata in result.metadata_list:
                metadata.path = metadata.path.replace("shelf://", "tardy://")
        return found

    def exists(self, path: str) -> bool:
        return super().exists(path.replace("tardy://", "shelf://"))

    def size(self, path: str) -> int:
        return super().size(path.replace("tardy://", "shelf://"))

    def metadata(self, path: str) -> FileMetadata:
        found = super().metadata(path.replace("tardy://", "shelf://"))
        return FileMetadata(path, found.size_in_bytes, found.last_updated_in_seconds)


class _SlowFile:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        time.sleep(SECONDS_PER_BYTE * len(data))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _SlowFile:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()


@pytest.fixture(scope="module")
def small_model(logical_cpus: int, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One multiplication: as good as nothing."""
    return _save(tmp_path_factory.mktemp("small"), lambda x: x * 2.0, 16)


def _save(folder: Path, function: Callable[[Any], Any], width: int) -> str:
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec([None, width], tf.float32, name="x")
    module.score = tf.function(lambda x: {"y": function(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "model"), signatures=module.score)
    return str(folder / "model")


def write_rows(path: Path, rows: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).normal(size=rows * width).astype(np.float32)
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(values, width)})
    pq.write_table(table, path, row_group_size=8192, use_dictionary=False)


def report_of(model: str, source: str, output: Path, *flags: str) -> dict[str, Any]:
    places = ["--model", model, "--input", source, "--output", str(output)]
    assert main(["score", *places, "--devices", "CPU:0", *flags]) == 0
    report: dict[str, Any] = read_report(output)
    return report


def report_bound_by(
    stage: str, model: str, source: str, output: Path, *flags: str
) -> dict[str, Any]:
    """The report of a job that is bound by a stage.

    Where the machine stands still for a moment, another stage may be: then the job is given
    again, twice at most. A machine with more to do than it has cores can tell nothing.
    """
    for number in range(3):
        report = report_of(model, source, output / f"{number}", *flags)
        if report["bound_by"] == stage:
            return report
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > 1.5 * cores:
        pytest.skip(f"{load:.0f} programs share {cores} cores: what waits may be any stage")
    raise AssertionError(f"expected a job bound by {stage}. Received: {report}.")


def test_an_expensive_model_makes_the_device_the_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    weights = tf.random.stateless_normal([512, 512], [1, 2])

    def expensive(x: tf.Tensor) -> tf.Tensor:
        wide = tf.tile(x, [1, 32])
        for _ in range(24):
            wide = tf.tanh(tf.matmul(wide, weights))
        return wide[:, :1]

    model = _save(tmp_path, expensive, 16)
    write_rows(tmp_path / "in" / "a.parquet", 16_384, 16)
    report = report_bound_by(
        "device", model, str(tmp_path / "in"), tmp_path / "out", "--batch_size", "1024"
    )
    assert report["device_busy_share"] >= 0.7
    assert report["advice"].startswith("Score on GPUs")
    step = report["stages"]["step"]
    assert step["seconds"] == max(stage["seconds"] for name, stage in report["stages"].items()
                                  if name != "queue")  # fmt: skip
    summary = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("bound by  device, busy ") for line in summary) == 1


def test_large_images_make_decoding_most_of_the_work(
    logical_cpus: int, tmp_path: Path, small_image_model: str
) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.jpg", quality=95)
    (tmp_path / "in").mkdir()
    # Enough that the first step, which takes longest where the machine is busy, counts little.
    for number in range(96):
        shutil.copy(tmp_path / "noise.jpg", tmp_path / "in" / f"{number:02d}.jpg")
    report = report_of(small_image_model, str(tmp_path / "in"), tmp_path / "out")
    # A step on CPUs waits for the cores that decoding has, so that its device may look busy.
    assert report["bound_by"] in ("decode", "device")
    decode = report["stages"]["decode"]
    assert decode["cpu_seconds"] > 0.5 * sum(
        report["stages"][name]["cpu_seconds"] for name in STAGES
    )


@pytest.fixture(scope="module")
def small_image_model(logical_cpus: int, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One pixel of each image."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("image")
    module = tf.Module()
    spec = tf.TensorSpec([None, 900, 1200, 3], tf.uint8, name="image")
    module.score = tf.function(
        lambda image: {"y": tf.cast(image[:, 0, 0, 0], tf.float32)}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder / "model"), signatures=module.score)
    return str(folder / "model")


def test_slow_storage_makes_reading_the_bound(tmp_path: Path, small_model: str) -> None:
    ShelfFileSystem.root = tmp_path / "shelf"
    write_rows(tmp_path / "shelf" / "in" / "a.parquet", 40_000, 16)
    report = report_bound_by("read", small_model, "tardy://in/*.parquet", tmp_path / "out")
    assert report["advice"].startswith("Read from storage nearer to the workers")
    read = report["stages"]["read"]
    size_bytes = (tmp_path / "shelf" / "in" / "a.parquet").stat().st_size
    assert read["seconds"] >= 0.9 * size_bytes * SECONDS_PER_BYTE


def test_text_of_wide_outputs_makes_writing_the_bound(tmp_path: Path) -> None:
    import tensorflow as tf

    model = _save(tmp_path, lambda x: tf.tile(x, [1, 32]) * 1.1, 16)
    write_rows(tmp_path / "in" / "a.parquet", 16_384, 16)
    report = report_bound_by(
        "write", model, str(tmp_path / "in"), tmp_path / "out", "--output_format", "jsonl"
    )
    assert report["advice"].startswith("Write --output_format parquet")


def test_a_second_job_of_a_process_does_not_have_the_seconds_of_the_first(
    tmp_path: Path, small_model: str
) -> None:
    write_rows(tmp_path / "many" / "a.parquet", 200_000, 16)
    write_rows(tmp_path / "few" / "a.parquet", 64, 16)
    flags = ["--output_format", "jsonl"]
    first = report_of(small_model, str(tmp_path / "many"), tmp_path / "first", *flags)
    began = time.perf_counter()
    second = report_of(small_model, str(tmp_path / "few"), tmp_path / "second", *flags)
    (worker,), (before,) = second["workers"], first["workers"]
    assert worker["process"] == before["process"]
    # Seconds of work, to which a machine that stands still adds none.
    for name in ("decode", "write"):
        cpu_seconds = second["stages"][name]["cpu_seconds"]
        assert cpu_seconds < 0.5 * first["stages"][name]["cpu_seconds"]
    assert worker["wall_seconds"] <= time.perf_counter() - began
    for number in range(3):
        if worker["busy_seconds"] < before["busy_seconds"]:
            break
        (worker,) = report_of(
            small_model, str(tmp_path / "few"), tmp_path / f"again-{number}", *flags
        )["workers"]
    assert worker["busy_seconds"] < before["busy_seconds"]


def test_the_last_write_of_a_split_is_in_its_record(tmp_path: Path, small_model: str) -> None:
    # Parquet is encoded where the part ends: all of it would be missing.
    write_rows(tmp_path / "in" / "a.parquet", 60_000, 16)
    report_of(small_model, str(tmp_path / "in"), tmp_path / "out")
    record = json.loads((tmp_path / "out/_mirrorbeam/commits/00000.json").read_text())
    in_memory = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    started = time.thread_time()
    # Without dictionaries, which the parts have none of for numbers.
    pq.write_table(
        in_memory, tmp_path / "again.parquet", compression="zstd", use_dictionary=False
    )
    encoding_seconds = time.thread_time() - started
    assert record["run"]["stages"]["write"]["seconds"] > 0.5 * encoding_seconds


def worker(wall: float, busy: float, **seconds: float) -> dict[str, Any]:
    stages = {
        name: {"seconds": seconds.get(name, 0.0), "cpu_seconds": 0.0, "threads": 2}
        for name in STAGES
    }
    return {"wall_seconds": wall, "busy_seconds": busy, "stages": stages}


def test_shares_are_of_the_time_that_all_threads_had() -> None:
    merged = merged_stages([worker(10, 1, read=10), worker(30, 1, read=6), {"rows": 1}])
    assert merged["read"] == {"seconds": 16, "cpu_seconds": 0, "threads": 4, "share": 0.2}
    assert merged["write"]["share"] == 0.0


@pytest.mark.parametrize(
    ("busy", "seconds", "bound_by"),
    [
        (0.7, {"decode": 19}, "device"),
        (0.69, {"decode": 19}, "decode"),
        (0.3, {"decode": 2, "write": 2}, "device"),
        (0.1, {"read": 1, "decode": 2, "write": 3}, "write"),
        (0.1, {"read": 4, "decode": 2, "write": 3}, "read"),
    ],
)
def test_the_device_is_the_bound_where_it_is_busier_than_its_feeders(
    busy: float, seconds: dict[str, float], bound_by: str
) -> None:
    stages = merged_stages([worker(10, busy * 10, **seconds)])
    assert judge(stages, busy, {}, ["GPU:0"], "csv").bound_by == bound_by


def test_advice_names_only_flags_that_were_not_given() -> None:
    stages = merged_stages([worker(10, 9)])
    given = {"precision": "mixed_bfloat16", "xla": True}
    assert "--xla" in str(judge(stages, 0.9, {}, ["/device:GPU:0"], "csv").advice)
    assert "--" not in str(judge(stages, 0.9, given, ["/device:GPU:0"], "csv").advice)
    stages = merged_stages([worker(10, 0, write=9)])
    kept = {"keep": ("id",), "output_format": "parquet"}
    assert "--keep" not in str(judge(stages, 0.0, kept, ["/device:GPU:0"], "csv").advice)
    assert "--output_format" not in str(judge(stages, 0.0, kept, ["/device:GPU:0"], "csv").advice)


def test_slow_decoding_of_images_is_advised_smaller_ones() -> None:
    stages = merged_stages([worker(10, 1, decode=9)])
    verdict = judge(stages, 0.1, {}, ["/device:GPU:0"], "images")
    assert verdict.bound_by == "decode"
    assert "store smaller images" in str(verdict.advice)


def test_no_worker_no_verdict() -> None:
    assert merged_stages([]) == merged_stages([{"rows": 1}]) == {}
    verdict = judge({}, None, {}, [], "csv")
    assert (verdict.bound_by, verdict.advice) == (None, None)
    assert describe_verdict({"bound_by": None}) is None
