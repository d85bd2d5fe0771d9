"""Beam's Prism, built by the Go toolchain."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import apache_beam

_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_BUILD_SECONDS = 1200


def missing(folder: Path) -> str:
    """Why there is no Prism and none can be built; empty where there is one or Go."""
    if _binary(folder).is_file() or shutil.which("go") is not None:
        return ""
    return f"neither {_binary(folder)} nor go on PATH, which builds it"


def install(folder: Path) -> Path:
    """Builds the version that fits the installed Beam, unless the folder has it."""
    binary = _binary(folder)
    if not binary.is_file():
        binary.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["go", "install", f"{_MODULE}@v{apache_beam.__version__}"],
            env=os.environ | {"GOBIN": str(binary.parent)}, check=True, timeout=_BUILD_SECONDS,
        )  # fmt: skip
    return binary


def _binary(folder: Path) -> Path:
    return folder / apache_beam.__version__ / "prism"
