"""A whole submission to Dataflow: what is staged, and the job that the service is sent."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")
pytest.importorskip("google.cloud.dataflow_v1beta3", reason="apache-beam[gcp] is not installed")

from apache_beam.internal.gcp import auth
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.cloud.dataflow_v1beta3 import JobType

from pipelines.cli import main
from tests.keras_models import mlp_keras
from tests.pipelines.dataflow_service import FakeDataflow, storage_emulator
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import column, read_rows
from tests.references import Reference

pytestmark = pytest.mark.usefixtures("logical_cpus")

ROOT = Path(__file__).resolve().parents[2]
BUILDS_SINCE = 77
ROWS = 100
FEATURES = np.random.default_rng(3).normal(size=(ROWS, 8)).astype(np.float32)
BUCKET = "gs://bucket"
IMAGE = "europe-docker.pkg.dev/p/r/mirrorbeam-gpu:1"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """A bucket with a dataset and a model; gives the model as a plain function."""
    folder = tmp_path_factory.mktemp("bucket")
    columns = {"features": FEATURES, "id": np.arange(ROWS)}
    write_parquet(folder / "in" / "0.parquet", columns, row_group_rows=10)
    _, reference = mlp_keras(folder)
    changed = pytest.MonkeyPatch()
    with storage_emulator(BUCKET.removeprefix("gs://")) as address, changed.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        # Beam would look for half a minute, as GcsIO does whatever --no_auth says.
        patch.setattr(auth._Credentials, "_credentials_init", True)
        for name in ("in/0.parquet", "mlp.keras"):
            with FileSystems.create(f"{BUCKET}/{name}") as file:
                file.write((folder / name).read_bytes())
        yield reference


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[FakeDataflow]:
    fake = FakeDataflow(getattr(request, "param", "JOB_STATE_RUNNING"))
    yield fake
    fake.stop()


def submit(service: FakeDataflow, name: str, *flags: str) -> int:
    return main([
        "score", f"--model={BUCKET}/mlp.keras", f"--input={BUCKET}/in/*.parquet",
        f"--output={BUCKET}/{name}", "--split_bytes=1KiB", "--runner=DataflowRunner",
        f"--dataflow_endpoint={service.endpoint}", "--no_auth", "--project=project",
        "--region=europe-west4", f"--temp_location={BUCKET}/temp/{name}", *flags,
    ])  # fmt: skip


def read(path: str) -> bytes:
    with FileSystems.open(path) as file:
        return bytes(file.read())


def staged(job: dict[str, Any]) -> beam_runner_api_pb2.Pipeline:
    """The pipeline that the job points at."""
    options = job["environment"]["sdkPipelineOptions"]["options"]
    return beam_runner_api_pb2.Pipeline.FromString(read(options["pipelineUrl"]))


def only_environment(pipeline: beam_runner_api_pb2.Pipeline) -> beam_runner_api_pb2.Environment:
    """The environment of all transforms that run the user's side of Beam."""
    used = {
        transform.environment_id
        for transform in pipeline.components.transforms.values()
        if transform.environment_id
    }
    assert len(used) == 1
    assert set(pipeline.components.environments) == used
    return pipeline.components.environments[used.pop()]


def staged_names(environment: beam_runner_api_pb2.Environment) -> dict[str, str]:
    """URLs of what a worker gets, by the names that it gets them under."""
    names = {}
    for artifact in environment.dependencies:
        role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
        url = beam_runner_api_pb2.ArtifactUrlPayload.FromString(artifact.type_payload).url
        names[role.staged_name] = url
    return names


def test_a_job_with_gpus(
    cloud: Reference, service: FakeDataflow, capsys: pytest.CaptureFixture
) -> None:
    code = submit(
        service, "gpus", "--gpus=nvidia-l4:4", f"--sdk_container_image={IMAGE}",
        "--num_workers=3", "--max_num_workers=5", "--resource_hints=min_ram=64GB",
        "--dataflow_service_options=enable_preflight_validation", "--no_wait_until_finish",
        "--labels=team=vision",
    )  # fmt: skip
    assert code == 0
    assert "submitted: " in capsys.readouterr().out
    (job,) = service.jobs
    assert job["type"] == JobType.JOB_TYPE_BATCH
    assert job["labels"] == {"team": "vision"}

    environment = job["environment"]
    assert environment["experiments"].count("no_use_multiple_sdk_containers") == 1
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    assert environment["serviceOptions"] == [
        "enable_preflight_validation",
        "worker_accelerator=type:nvidia-l4;count:4;install-nvidia-driver",
    ]
    assert environment["tempStoragePrefix"].startswith("storage.googleapis.com/bucket/temp/gpus/")
    assert environment["sdkPipelineOptions"]["options"]["sdk_location"] == "container"

    (pool,) = environment["workerPools"]
    assert pool["machineType"] == "g2-standard-48"
    assert pool["diskSizeGb"] == 100
    assert pool["numWorkers"] == 3
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 5
    assert pool["numThreadsPerWorker"] == 16
    assert pool["workerHarnessContainerImage"] == IMAGE
    (container,) = pool["sdkHarnessContainerImages"]
    assert container["containerImage"] == IMAGE

    pipeline = staged(job)
    sdk = only_environment(pipeline)
    payload = beam_runner_api_pb2.DockerPayload.FromString(sdk.payload)
    assert sdk.urn == common_urns.environments.DOCKER.urn
    assert payload.container_image == IMAGE
    assert dict(sdk.resource_hints) == {
        common_urns.resource_hints.MIN_RAM_BYTES.urn: str(64 * 10**9).encode()
    }
    # Nothing is shipped but a list for people: the image has the code, and `__main__` none.
    assert set(staged_names(sdk)) <= {"submission_environment_dependencies.txt"}

    plan = json.loads(read(f"{BUCKET}/gpus/_mirrorbeam/plan.json"))
    assert plan["rows"] == ROWS


@pytest.mark.skipif(
    int(metadata.version("setuptools").partition(".")[0]) < BUILDS_SINCE,
    reason=f"setuptools is older than {BUILDS_SINCE}, which the package is built with",
)
def test_the_package_travels_with_a_setup_file(
    cloud: Reference, service: FakeDataflow, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    assert submit(service, "setup", "--setup_file=./setup.py", "--no_wait_until_finish") == 0
    (job,) = service.jobs
    (pool,) = job["environment"]["workerPools"]
    assert pool["numThreadsPerWorker"] == 8
    assert "machineType" not in pool
    names = staged_names(only_environment(staged(job)))
    with tarfile.open(fileobj=io.BytesIO(read(names["workflow.tar.gz"]))) as archive:
        files = {os.sep.join(name.split(os.sep)[1:]) for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "pipelines/cli.py", "transforms/inference.py"} <= files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What `--setup_file` reads, apart from the work tree, in which a build leaves files."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "pipelines", "transforms"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_a_template_is_written_and_not_sent(cloud: Reference, service: FakeDataflow) -> None:
    template = f"{BUCKET}/templates/score.json"
    code = submit(
        service, "template", "--gpus=nvidia-tesla-t4:2", f"--sdk_container_image={IMAGE}",
        f"--template_location={template}",
    )  # fmt: skip
    assert code == 0
    assert service.jobs == []
    (pool,) = json.loads(read(template))["environment"]["workerPools"]
    assert pool["machineType"] == "n1-standard-16"


@pytest.mark.parametrize("service", ["JOB_STATE_DONE"], indirect=True)
def test_a_job_that_leaves_no_report_has_failed(
    cloud: Reference, service: FakeDataflow, caplog: pytest.LogCaptureFixture
) -> None:
    assert submit(service, "silent", f"--sdk_container_image={IMAGE}") == 1
    assert "without a report" in caplog.text


def test_what_is_refused_is_not_sent(
    cloud: Reference, service: FakeDataflow, capsys: pytest.CaptureFixture
) -> None:
    code = submit(service, "refused", "--gpus=nvidia-l4:4", "--model=mlp.keras")
    assert code == 2
    assert "Received: --model mlp.keras" in capsys.readouterr().err
    assert service.jobs == []


def test_what_is_staged_scores_the_dataset(
    cloud: Reference, service: FakeDataflow, tmp_path: Path
) -> None:
    flags = [f"--sdk_container_image={IMAGE}", "--no_wait_until_finish"]
    assert submit(service, "scored", *flags) == 0
    pipeline = staged(service.jobs[0])
    # The service would start the image; here the worker is this process, with the same storage.
    sdk = only_environment(pipeline)
    sdk.urn, sdk.payload = python_urns.EMBEDDED_PYTHON, b""
    del sdk.dependencies[:]
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions()).wait_until_finish()
    assert FileSystems.exists(f"{BUCKET}/scored/_SUCCESS")
    (found,) = FileSystems.match([f"{BUCKET}/scored/part-*.parquet"])
    for metadata_of_part in found.metadata_list:
        name = metadata_of_part.path.rpartition("/")[2]
        (tmp_path / name).write_bytes(read(metadata_of_part.path))
    rows = read_rows(tmp_path)
    assert column(rows, "id").tolist() == list(range(ROWS))
    assert {row["_source"] for row in rows} == {f"{BUCKET}/in/0.parquet"}
    expected = cloud({"features": FEATURES})["scores"]
    np.testing.assert_allclose(column(rows, "scores"), expected, rtol=1e-5, atol=1e-6)
