"""Batch sizes in an output folder: kept, found by others, and gone with the job."""

from __future__ import annotations

import json
import pickle
import uuid
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.output_folder import OutputFolder
from pipelines.tuning_folder import OutputTuningStore
from tests.models import mlp_keras
from tests.pipelines.jobs import plan
from tests.pipelines.memory_filesystem import MemoryFileSystem
from transforms.engine.opening import PredictorConfig, open_predictor, predictor_of
from transforms.engine.tuning_store import load_rows, save_rows

KEY = "0123456789abcdef" * 2


@pytest.fixture(params=["local", "object store"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "out")
    return f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/out"


def test_another_worker_finds_what_one_saved(output: str) -> None:
    store = OutputTuningStore(output)
    assert store.load(KEY) is None
    save_rows([store], KEY, 512)
    other = pickle.loads(pickle.dumps(store))
    assert load_rows([other], KEY) == 512
    assert load_rows([other], KEY.replace("0", "f")) is None
    save_rows([other], KEY, 384)
    assert load_rows([store], KEY) == 384
    assert list(storage.list_files(output)) == [f"{output}/_mirrorbeam/tuning/{KEY}.json"]


def test_a_relative_folder_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = OutputTuningStore("out")
    monkeypatch.chdir("/")
    store.save(KEY, {"rows": 3})
    assert (tmp_path / f"out/_mirrorbeam/tuning/{KEY}.json").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"rows": "many"}', b"\xff"])
def test_a_damaged_file_is_as_good_as_none(output: str, content: bytes) -> None:
    with storage.create(OutputFolder(output).tuning(KEY)) as file:
        file.write(content)
    assert load_rows([OutputTuningStore(output)], KEY) is None


@pytest.mark.parametrize("place", ["nowhere://bucket/out", "file/below"])
def test_a_folder_that_cannot_be_reached_stops_nothing(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("mine")
    store = OutputTuningStore(place if "://" in place else str(tmp_path / place))
    store.save(KEY, {"rows": 1})
    assert "cannot be kept" in caplog.text
    assert store.load(KEY) is None
    assert "tuning anew" in caplog.text


def test_overwriting_a_job_deletes_its_sizes_and_nothing_else(output: str) -> None:
    folder = OutputFolder(output)
    folder.begin(plan(), earlier=None)
    OutputTuningStore(output).save(KEY, {"rows": 1})
    mine = storage.join(output, "_mirrorbeam", "tuning", "mine.json")
    storage.create(mine).close()
    earlier = folder.check(["/nowhere"], "parquet")
    assert earlier is not None
    folder.clear(earlier)
    assert list(storage.list_files(output)) == [mine]
    storage.delete([mine])


@pytest.mark.usefixtures("logical_cpus")
def test_what_a_worker_finds_while_it_scores_is_kept(tmp_path: Path) -> None:
    spec, reference = mlp_keras(tmp_path)
    output = tmp_path / "out"
    config = PredictorConfig(spec, ("CPU:0",), tuning_stores=(OutputTuningStore(str(output)),))
    lease = open_predictor(config)
    predictor = predictor_of(lease)
    rows = reference.rows(1 << 17)
    for _ in range(100):
        predictor.predict(rows)
        if predictor.sizer.is_tuned:
            break
    [kept] = (output / "_mirrorbeam/tuning").iterdir()
    assert json.loads(kept.read_text())["rows"] == predictor.sizer.found_rows
    predictor.close()
    lease.release()


def test_no_empty_folder_is_left(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    OutputTuningStore(str(tmp_path)).save(KEY, {"rows": 1})
    folder.clear(plan())
    assert not (tmp_path / "_mirrorbeam/tuning").exists()
