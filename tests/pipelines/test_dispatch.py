"""A job whose devices run by themselves writes what one in lock step writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.models import mlp_keras
from tests.pipelines.inputs import write_parquet
from tests.pipelines.outputs import column, read_report, read_rows
from tests.processes import python


@pytest.mark.usefixtures("logical_cpus")
def test_independent_devices_write_what_mirrored_ones_write(tmp_path: Path) -> None:
    spec, reference = mlp_keras(tmp_path)
    rows = reference.rows(700)
    columns = {"id": np.arange(700), "features": rows["features"]}
    write_parquet(tmp_path / "in.parquet", columns, row_group_rows=90)
    found = {}
    for dispatch in ("mirrored", "independent"):
        output = tmp_path / dispatch
        command = ["-m", "pipelines", "score", "--model", spec.path]
        command += ["--input", str(tmp_path / "in.parquet"), "--output", str(output)]
        command += ["--logical_devices", "2", "--batch_size", "64", "--split_bytes", "4000"]
        python(*command, "--dispatch", dispatch)
        report = read_report(output)
        assert (report["rows_in"], report["predicted"], report["failed"]) == (700, 700, 0)
        found[dispatch] = read_rows(output)
        np.testing.assert_array_equal(column(found[dispatch], "id"), np.arange(700))
        np.testing.assert_allclose(
            column(found[dispatch], "scores"), reference(rows)["scores"], atol=1e-6
        )
    for one, other in zip(found["mirrored"], found["independent"], strict=True):
        assert one.keys() == other.keys()
        assert (one["_source"], one["_row"]) == (other["_source"], other["_row"])
