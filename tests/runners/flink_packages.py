"""Flink and Beam's job server for it, from Maven packages alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

FLINK_VERSION = "1.19"
JOB_SERVER = "job-server.jar"

# Of a checkout; git ignores it.
FOLDER = Path(__file__).resolve().parents[2] / ".flink"

_POM = Path(__file__).with_name("flink-pom.xml")
_DOWNLOAD_SECONDS = 900
_MAIN_CLASS = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_MANIFEST_LINE_BYTES = 70

_LOGGING = """\
status = ERROR
rootLogger.level = ${sys:flink.log.level:-INFO}
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n%throwable
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
"""


def missing_programs() -> list[str]:
    """What `install` and a cluster need and this machine lacks."""
    return [name for name in ("java", "mvn") if shutil.which(name) is None]


def install(folder: Path) -> Path:
    """Downloads the packages into a folder, unless it has those of this pom; gives the jar.

    The jar has a manifest alone: a main class, and a class path over the packages. Their order
    in it matters, since some hold the same classes.
    """
    stamp = folder / "installed"
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()
    jar = folder / JOB_SERVER
    if stamp.is_file() and stamp.read_text() == digest:
        return jar
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [
        "mvn", "--quiet", "--batch-mode", "--file", str(_POM), "dependency:copy-dependencies",
        "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}",
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=_DOWNLOAD_SECONDS)
    packages = sorted(path.name for path in (folder / "lib").glob("*.jar"))
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", _manifest(packages))
        archive.writestr("log4j2.properties", _LOGGING)
    stamp.write_text(digest)
    return jar


def _manifest(packages: list[str]) -> str:
    class_path = "Class-Path: " + " ".join(f"lib/{name}" for name in packages)
    lines = ["Manifest-Version: 1.0", f"Main-Class: {_MAIN_CLASS}", class_path]
    return "".join(f"{_folded(line)}\n" for line in lines)


def _folded(line: str) -> str:
    """A manifest's line is of bounded length; what continues it starts with a space."""
    step = _MANIFEST_LINE_BYTES - 1
    rest = line[_MANIFEST_LINE_BYTES:]
    pieces = [rest[start : start + step] for start in range(0, len(rest), step)]
    return "\n ".join([line[:_MANIFEST_LINE_BYTES], *pieces])
