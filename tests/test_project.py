"""What a user installs: the packages in it, the pins, the one place of the version."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement

from tests.processes import run_program

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("transforms", "pipelines")
TEMPLATES = {"pipelines/report_page.html.j2"}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def source_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build reads, copied, so that building leaves nothing in the work tree."""
    folder = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def modules_below(folder: Path) -> set[str]:
    files = (file for package in PACKAGES for file in (folder / package).rglob("*.py"))
    return {str(file.relative_to(folder)) for file in files}


def pins(python: str) -> dict[str, str]:
    """Exact versions by normal name, as pip would read the constraints under ``python``."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            name = re.sub(r"[-_.]+", "-", pin.name).lower()
            assert name not in found, f"{name} is pinned twice for Python {python}"
            found[name] = str(pin.specifier)
    return found


def test_the_wheel_holds_every_module_and_the_command(source_copy: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source_copy)]
    run_program(command)
    (wheel,) = tmp_path.glob("mirrorbeam-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        declared = archive.read(entry_points).decode()
    assert {name for name in names if name.endswith(".py")} == modules_below(source_copy)
    assert {name for name in names if name.endswith(".j2")} == TEMPLATES
    assert "mirrorbeam = pipelines.cli:main" in declared


def test_beams_setup_file_builds_an_sdist_with_every_module(
    source_copy: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(tmp_path)]
    run_program(command, cwd=source_copy)
    (sdist,) = tmp_path.glob("mirrorbeam-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert modules_below(source_copy) | TEMPLATES <= names


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_are_exact_versions_without_urls(python: str) -> None:
    found = pins(python)
    assert len(found) > 100
    for name, specifier in found.items():
        assert re.fullmatch(r"==[0-9][0-9A-Za-z.+]*", specifier), f"{name}{specifier}"
    assert "://" not in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_satisfy_every_range_that_is_declared(python: str) -> None:
    found = pins(python)
    for text in metadata.requires("mirrorbeam") or []:
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        version = found[name].removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} with {version}"


def test_only_pyproject_says_the_version() -> None:
    version = metadata.version("mirrorbeam")
    pattern = re.compile(rf"(?<![0-9.]){re.escape(version)}(?![0-9.])")
    files = [*ROOT.glob("*.toml"), *ROOT.glob("*.py"), *map(ROOT.joinpath, modules_below(ROOT))]
    assert [file.name for file in files if pattern.search(file.read_text())] == ["pyproject.toml"]


def test_the_engine_imports_nothing_of_transforms_but_itself() -> None:
    graph = grimp.build_graph("transforms")
    engine = {"transforms.engine", *graph.find_descendants("transforms.engine")}
    imported = {
        name for module in engine for name in graph.find_modules_directly_imported_by(module)
    }
    assert imported
    assert imported - engine == set()
