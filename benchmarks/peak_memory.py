"""Peak resident memory of ``mirrorbeam score`` over ten times the rows.

Parquet to Parquet, a network of 32, 64 and 10 units; every run is a process of its own.

    python -m benchmarks.peak_memory --rows 1000000
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.models import FEATURES, save_mlp
from benchmarks.run import RESULTS

_FILE_ROWS = 250_000

_LOG = logging.getLogger(__name__)


def write_rows(folder: Path, rows: int) -> None:
    """Files of random float32 rows, as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, first in enumerate(range(0, rows, _FILE_ROWS)):
        count = min(_FILE_ROWS, rows - first)
        values = rng.normal(size=(count, FEATURES)).astype(np.float32)
        features = pa.FixedSizeListArray.from_arrays(values.reshape(-1), FEATURES)
        table = pa.table({"id": np.arange(first, first + count), "features": features})
        pq.write_table(table, folder / f"rows-{number:05d}.parquet", use_dictionary=False)


def score(model: Path, source: Path, output: Path) -> float:
    """Runs the command; the largest resident set of the process, in MiB."""
    program = (
        "import resource, sys; from pipelines.cli import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    flags = ["--input", str(source), "--model", str(model), "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", program, "score", *flags, "--devices", "CPU:0"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.splitlines()[-1]) * resource_unit_bytes() / 2**20


def resource_unit_bytes() -> int:
    """What `ru_maxrss` counts in: kilobytes on Linux, bytes on macOS."""
    return 1 if platform.system() == "Darwin" else 1024


def main() -> None:
    """Measures and writes the figures to `benchmarks/results/`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_mlp(folder / "mlp.keras")
        for factor in (1, 10):
            rows = arguments.rows * factor
            write_rows(folder / f"in-{factor}", rows)
            target = folder / f"out-{factor}"
            peaks[rows] = score(folder / "mlp.keras", folder / f"in-{factor}", target)
            _LOG.info("%d rows: %.0f MiB", rows, peaks[rows])
    few, many = peaks.values()
    figures = {
        "case": "mirrorbeam score, Parquet to Parquet, MLP 32-64-10",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "peak_mib": {str(rows): round(peak) for rows, peak in peaks.items()},
        "ratio": round(many / few, 3),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "peak_memory.json").write_text(json.dumps(figures, indent=2) + "\n")
    _LOG.info("%s", json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
