"""`mirrorbeam score` with input, model and output in a bucket, killed once and resumed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import storage
from pipelines.cli import main
from tests.faults.kill_points import ROOT
from tests.models import mlp_keras
from tests.object_stores.emulators import SECRET, STORES, Store
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import column, read_report, read_rows
from tests.references import Reference

pytestmark = [pytest.mark.usefixtures("logical_cpus"), pytest.mark.slow]

FILES, ROWS = 4, 25


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with STORES[request.param]() as store:
        yield store


@pytest.fixture(scope="module")
def reference(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Fills the bucket."""
    folder = tmp_path_factory.mktemp("bucket")
    reference = mlp_keras(folder)[1]
    features = reference.rows(FILES * ROWS)["features"]
    for file in range(FILES):
        own = slice(file * ROWS, (file + 1) * ROWS)
        columns = {"id": np.arange(own.start, own.stop), "features": features[own]}
        write_parquet(folder / f"in/{file}.parquet", columns)
        store.write(f"in/{file}.parquet", (folder / f"in/{file}.parquet").read_bytes())
    store.write("mlp.keras", (folder / "mlp.keras").read_bytes())
    return reference


def command(
    store: Store, output: str, *flags: str, source: str = "in/*.parquet"
) -> list[str]:
    return [
        "score", "--model", store.path("mlp.keras"), "--input", store.path(source),
        "--output", store.path(output), "--devices=CPU:0", "--direct_num_workers=1",
        *store.flags, *flags,
    ]  # fmt: skip


def require_exact(store: Store, output: str, folder: Path, reference: Reference) -> None:
    out = store.fetch(output, folder)
    found = read_rows(out)
    expected = reference(reference.rows(FILES * ROWS))["scores"]
    assert column(found, "id").tolist() == list(range(FILES * ROWS))
    np.testing.assert_allclose(column(found, "scores"), expected, atol=1e-6)
    sources = {row["_source"] for row in found}
    assert sources == {store.path(f"in/{file}.parquet") for file in range(FILES)}
    assert (out / "_SUCCESS").read_bytes() == b""
    assert read_report(out)["rows_in"] == FILES * ROWS
    assert not (out / "_mirrorbeam/tmp").exists()
    # What reaches the store is no part of what the job leaves there.
    for path in out.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_a_job_in_a_bucket(store: Store, reference: Reference, tmp_path: Path, caplog, capsys):
    assert main(command(store, "out")) == 0
    require_exact(store, "out", tmp_path, reference)
    assert main(command(store, "out")) == 0
    said = capsys.readouterr()
    assert "nothing is left to score" in said.out
    if store.flags[0].startswith("--s3"):
        # A command of its own knows the store by its flags alone.
        FileSystems.set_options(PipelineOptions([]))
    assert main(["status", store.path("out"), "--json", *store.flags]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert main(["status", store.path("nowhere"), *store.flags]) == 2
    assert "has no _mirrorbeam/plan.json" in capsys.readouterr().err
    assert SECRET not in caplog.text + said.out + said.err
    assert main(command(store, "out", "--overwrite", "--output_format=csv")) == 0
    names = [path.rpartition("/")[2] for path in storage.sizes_in(store.path("out"), "part-")]
    assert sorted(names) == [f"part-{file:05d}.csv" for file in range(FILES)]


def test_a_killed_job_goes_on(store: Store, reference: Reference, tmp_path: Path) -> None:
    output = "killed/out"
    begun = tmp_path / "begun.txt"
    run = [sys.executable, "-m", "tests.object_stores.killed", "before record", "2", str(begun)]
    environment = os.environ | store.environment | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*run, *command(store, output)], cwd=ROOT, env=environment, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert SECRET not in done.stdout + done.stderr
    commits = storage.sizes_in(store.path(f"{output}/_mirrorbeam/commits"))
    assert [path[-10:] for path in commits] == ["00000.json"]
    attempt = json.loads(storage.read_existing(next(iter(commits))))["attempt"]
    # It died when its part was there, and the sign that someone was at work.
    assert storage.sizes_in(store.path(output), "part-00001")
    assert storage.sizes_in(store.path(f"{output}/_mirrorbeam/tmp"), "00001-")
    assert main(command(store, output)) == 0
    require_exact(store, output, tmp_path / "out", reference)
    kept = storage.read_existing(store.path(f"{output}/_mirrorbeam/commits/00000.json"))
    assert json.loads(kept)["attempt"] == attempt


def test_splits_without_rows(store: Store, reference: Reference):
    del reference
    file = io.BytesIO()
    empty = pa.schema([("features", pa.list_(pa.float32(), 8)), ("id", pa.int64())]).empty_table()
    pq.write_table(empty, file)
    store.write("empty/0.parquet", file.getvalue())
    for output_format in ("jsonl", "tfrecord"):
        flags = [f"--output_format={output_format}"]
        assert main(command(store, f"none/{output_format}", *flags, source="empty")) == 0
        sizes = storage.sizes_in(store.path(f"none/{output_format}"), "part-")
        assert list(sizes.values()) == [0]


def test_a_bucket_that_is_not_there_is_said_so(store: Store, reference: Reference, capsys):
    del reference
    scheme = store.root.partition("://")[0]
    assert main([*command(store, "x"), f"--output={scheme}://no-such-bucket/out"]) == 2
    assert "expected an output folder that can be written" in capsys.readouterr().err
    assert main([*command(store, "x"), f"--model={scheme}://no-such-bucket/m.keras"]) == 2
    assert "no-such-bucket" in capsys.readouterr().err


def test_requests_of_a_commit(store: Store) -> None:
    if not store.flags[0].startswith("--s3"):
        pytest.skip("only moto's requests are counted")
    from pipelines.commits import SplitCommitter
    from pipelines.output_folder import OutputFolder
    from pipelines.sinks import sink_class
    from tests.pipelines.jobs import INPUT_SCHEMA, block

    committer = SplitCommitter(
        OutputFolder(store.path("count")), sink_class("csv")(), INPUT_SCHEMA)
    committer.add(block(0, range(10)))
    store.requests.clear()
    committer.add(block(0, [], total=10))
    # Three upload the part, two copy it; looking for a record, writing one, looking around and
    # deleting take one each.
    assert store.requests.total() <= 9, store.requests
