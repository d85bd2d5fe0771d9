"""`--profile`: what lies in its folder afterwards, on local disks and elsewhere."""

from __future__ import annotations

import pstats
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main
from tests.filesystem import ShelfFileSystem
from tests.models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import read_report
from transforms.engine.stage_times import STAGE_TIMES

pytestmark = pytest.mark.usefixtures("logical_cpus")


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    spec, reference = mlp_keras(tmp_path)
    rows: dict[str, np.ndarray] = reference.rows(4_000)
    write_parquet(tmp_path / "in" / "a.parquet", rows)
    places = ["--model", spec.path, "--input", str(tmp_path / "in")]
    return ["score", *places, "--output", str(tmp_path / "out"), "--batch_size", "50",
            "--devices", "CPU:0"]  # fmt: skip


def check(folder: Path) -> None:
    traces = list(folder.glob("plugins/profile/*/*.xplane.pb"))
    assert len(traces) == 1
    assert traces[0].stat().st_size > 0
    (path,) = folder.glob("python-*.pstats")
    functions = {name for _, _, name in pstats.Stats(str(path)).stats}  # type: ignore[attr-defined]
    assert {"columns_to_arrays", "scored_block", "commit", "read"} <= functions


def test_a_profiled_job_leaves_a_trace_and_a_profile(job: list[str], tmp_path: Path) -> None:
    assert main([*job, "--profile", str(tmp_path / "profile")]) == 0
    assert read_report(tmp_path / "out")["predicted"] == 4_000
    check(tmp_path / "profile")
    assert STAGE_TIMES.on_batch is None
    # The profiler is free again.
    assert main([*job, "--overwrite", "--profile", str(tmp_path / "again")]) == 0
    check(tmp_path / "again")


def test_a_profile_goes_to_any_filesystem(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShelfFileSystem, "root", tmp_path / "shelf")
    assert main([*job, "--profile", "shelf://profile"]) == 0
    check(tmp_path / "shelf" / "profile")


def test_another_profiler_costs_the_trace_alone(
    job: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import tensorflow as tf

    tf.profiler.experimental.start(str(tmp_path / "other"))
    try:
        assert main([*job, "--profile", str(tmp_path / "profile")]) == 0
    finally:
        tf.profiler.experimental.stop(save=False)
    assert "no trace of the steps" in caplog.text
    assert list((tmp_path / "profile").glob("python-*.pstats"))
    assert not (tmp_path / "profile" / "plugins").exists()


def test_only_who_asks_is_profiled(job: list[str], tmp_path: Path) -> None:
    assert main(job) == 0
    assert STAGE_TIMES.on_batch is None
    assert not list(tmp_path.glob("**/*.pstats"))
