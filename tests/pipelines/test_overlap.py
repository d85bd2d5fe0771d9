"""Which outputs get into the way of which inputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.overlap import overlap

PARTS = ("part-00000.parquet", "_mirrorbeam/failed/part-00000.parquet")

APART = [
    ("/data/out", "/data/in"),
    ("/data/input", "/data/in"),
    ("/data/in", "/data/input"),
    ("/data/out", "/data/*.parquet"),
    ("/data/out", "/data/in/**.parquet"),
    ("/data/out", "/data/*/x.parquet"),
    ("/data/out", "/data/o[a-t]t/*.csv"),
    ("/data/out", "/data/[!o]ut/*.parquet"),
    ("gs://bucket/out", "gs://bucket/in/*.parquet"),
    ("gs://bucket/out", "/bucket/out"),
    ("/bucket/out", "gs://bucket"),
]
IN_THE_WAY = [
    ("/data/out", "/data/out", "is the input"),
    ("/data/out/", "/data/x/../out", "is the input"),
    ("/data", "/data/in.parquet", "contains the input"),
    ("/", "/data", "contains the input"),
    ("/data/in/out", "/data/in", "lies under the input"),
    ("/data", "/data/*.parquet", "contains the input"),
    ("/data", "/data/in/*.parquet", "contains the input"),
    ("/data/out", "/data/**", "lies under the input"),
    ("/data/out", "/data/**.parquet", "lies under the input"),
    ("/data/out", "/data/*/part-0000?.parquet", "lies under the input"),
    ("/data/out", "/data/*", "lies under the input"),
    ("/data/2024-out/x", "/data/2024-*", "lies under the input"),
    ("/data/out", "/data/o[a-z]t/*.parquet", "lies under"),
    ("/data/out", "/data/[!x]ut/*.parquet", "lies under"),
    ("gs://bucket/out", "gs://bucket", "lies under the input"),
    ("gs://bucket/out/", "gs://bucket/out/*", "contains the input"),
    ("gs://bucket/out", "gs://bucket/**.parquet", "lies under the input"),
]


@pytest.mark.parametrize(("output", "given"), APART)
def test_apart(output: str, given: str) -> None:
    assert overlap(output, [given], PARTS) is None


@pytest.mark.parametrize(("output", "given", "how"), IN_THE_WAY)
def test_in_the_way(output: str, given: str, how: str) -> None:
    reason = overlap(output, [given, "/elsewhere"], PARTS)
    assert reason is not None
    assert how in reason
    assert reason.endswith(f"the input {given}")


def test_relative_paths_and_links_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    os.symlink(tmp_path / "in", tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    assert overlap("in/out", ["in"], PARTS) is not None
    assert overlap("out", ["in"], PARTS) is None
    assert overlap("out", ["*.csv"], PARTS) is None
    assert overlap("out", ["**.parquet"], PARTS) is not None
    assert overlap("link/out", [str(tmp_path / "in")], PARTS) is not None
    assert overlap("in", ["link/*.parquet"], PARTS) is not None
