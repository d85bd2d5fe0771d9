"""The page: self-contained, escaped, without credentials, and small whatever the job."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines import finish
from pipelines.commits import SplitCommitter
from pipelines.finish import finish_job
from pipelines.output_folder import OutputFolder
from pipelines.printable import printable
from pipelines.report import build_report
from pipelines.report_page import make_page
from pipelines.runs import Run
from pipelines.sinks import sink_class
from pipelines.splits import Split
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan
from tests.pipelines.pages import Page
from transforms.block import Block
from transforms.failures import Failure

NAMES = ("read", "decode", "queue", "host_to_device", "step", "gather", "write")
STAGES = {
    name: {"seconds": place + 0.5, "cpu_seconds": 0.25, "threads": 1}
    for place, name in enumerate(NAMES)
}
START = 1_700_000_000.0


def worker(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "process": f"host-{number}:1", "devices": ["/device:GPU:0"], "model_loads": 1,
        "batches": {"128": 9}, "batch_rows": 128, "rows": 20, "out_of_memory": 0,
        "stages": STAGES, "wall_seconds": 40.0, "busy_seconds": 8.0, "ready_at": START + 1,
        "model_rows_per_second": 50.0,
    } | changes  # fmt: skip


def record(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "split": f"{index:05d}", "rows_in": 10, "predicted": 10, "failed": 0, "failures": {},
        "part": {"bytes": 5}, "ended_at": START + 10 + index / 100, "seconds": 2.0, "run": None,
    } | changes  # fmt: skip


def a_run(began: float, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "name": "x", "started_at": began, "arguments": {"model": "m.keras"},
        "max_failed_fraction": 0.01, "host": "driver", "pid": 1,
    }  # fmt: skip
    return Run(**(values | changes))


def page_of(
    path: Path, records: list[dict[str, Any]], runs: list[Run] | None = None, **changes: Any
) -> str:
    splits = changes.pop("splits", len(records))
    made = plan(splits, **changes)
    runs = runs or [a_run(START)]
    report = build_report(made, records, [], START + 99, [run.started_at for run in runs])
    return make_page(report, made, records, runs, OutputFolder(str(path)))


def test_what_a_data_engineer_asks(tmp_path: Path) -> None:
    records = [record(index) for index in range(20)]
    records[3] |= {"seconds": 40.0}
    records[4] |= {"run": worker(1, out_of_memory=2)}
    records[5] |= {"run": worker(2), "ended_at": START + 5000}
    runs = [a_run(START), a_run(START + 4000, ended_at=START + 5001, exit_code=0)]
    html = page_of(tmp_path, records, runs)
    page = Page(html)
    told = page.text
    first = told[: told.index("Progress")]
    for text in ("rows read 200", "predicted 200", "failed 0", "1 min 39 s", "2 runs",
                 "Bound by write", "the devices were busy 20%",
                 "--direct_num_workers"):  # fmt: skip
        assert text in first
    assert "run 2" in told
    assert 'class="bar marked"' in html[: html.index('id="splits"')]
    assert "1 took longer than 7 s, much longer than most" in told
    assert "00003 /in/3.csv 10 40 s straggler" in told
    assert "host-1:1 GPU:0 20 9×128 128 0 2 1" in told
    assert "2 2023-11-14 23:20:00 UTC 2023-11-14 23:36:41 UTC 0 driver:1" in told


def test_it_can_be_heard(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path, [record(0) | {"run": worker(0)}, record(1)]))
    tags = Counter(tag for tag, _ in page.tags)
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 4
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert set((drawing["aria-labelledby"] or "").split()) <= set(ids)
    assert tags["table"] == tags["caption"] == tags["thead"]
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert heads
    assert all(head.get("scope") in ("row", "col") for head in heads)
    assert ("html", {"lang": "en"}) in page.tags
    assert "prefers-color-scheme: dark" in page.style
    assert "@media print" in page.style


HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}</style>\x00\x1b[2J"


def test_names_and_messages_are_data(tmp_path: Path) -> None:
    source = f"/in/{HOSTILE}.csv"
    folder = OutputFolder(str(tmp_path))
    splits = (Split(0, (source,)),)
    made = dataclasses.replace(
        plan(0), splits=splits, columns={HOSTILE: "int64"},
        arguments={"model": HOSTILE, "input": [source], "keep": HOSTILE})  # fmt: skip
    failed = Failure(source, 9, "infer", "E<b>", f"received {HOSTILE}", None)
    part: Block = dataclasses.replace(
        block(0, range(9), [failed], 10, worker(0, process=HOSTILE)), split=splits[0])
    SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA).add(part)
    finish_job(made, folder)
    html = Path(folder.html_report).read_text()
    page = Page(html)
    assert "<b>" not in html
    assert not [char for char in html if not char.isprintable() and char != "\n"]
    shown = printable(HOSTILE)
    assert f"received {shown}" in page.text
    # The model, twice; the input, as a flag, and as a split's; the column; --keep; the worker.
    assert page.text.count(shown) >= 8


def test_credentials_are_left_out(tmp_path: Path) -> None:
    secret = "hunter2"
    address = f"db://user:{secret}@host/t?sig={secret}"
    folder = OutputFolder(str(tmp_path))
    made = dataclasses.replace(
        plan(0), splits=(Split(0, (address,)),),
        arguments={"model": address, "input": [address]})  # fmt: skip
    failed = Failure(address, 9, "infer", "E", f"no {address}", None)
    part = dataclasses.replace(block(0, range(9), [failed], 10), split=made.splits[0])
    SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA).add(part)
    finish_job(made, folder)
    html = Path(folder.html_report).read_text()
    assert "db://user:***@host" in html
    assert secret not in html


def test_a_hundred_thousand_splits_make_no_larger_page(tmp_path: Path) -> None:
    few = page_of(tmp_path, [record(index) | {"run": worker(index)} for index in range(300)])
    splits = 100_000
    kinds = {f"Error{kind}": 1 for kind in range(300)}
    records = [record(index) for index in range(splits)]
    for index in range(2000):
        records[index]["run"] = worker(index, batches={str(size): 2 for size in range(1, 400)})
    records[0]["failures"] = {"decode": kinds}
    runs = [a_run(START + 60 * number) for number in range(300)]
    arguments = {"model": "m.keras", "input": [f"/in/{index}.csv" for index in range(splits)]}
    columns = {f"column {index}": "int64" for index in range(splits)}
    began = time.process_time()
    many = page_of(tmp_path, records, runs, arguments=arguments, columns=columns)
    seconds = time.process_time() - began
    Page(many)
    assert len(many) < 4 * len(few) < 400_000
    assert seconds < 30


@pytest.fixture
def committed(tmp_path: Path) -> OutputFolder:
    folder = OutputFolder(str(tmp_path))
    SplitCommitter(folder, sink_class("parquet")(), INPUT_SCHEMA).add(
        block(0, range(9), [failure(9)], 10))
    return folder


def test_a_job_without_jinja_ends_without_a_page(committed, monkeypatch, caplog) -> None:
    finish_job(plan(1), committed)
    assert Path(committed.html_report).exists()
    monkeypatch.setattr(finish, "has_jinja", lambda: False)
    with caplog.at_level(logging.INFO):
        assert finish_job(plan(1), committed)["succeeded"]
    assert not Path(committed.html_report).exists()
    assert Path(committed.success).exists()
    assert len([line for line in caplog.messages if "report.html" in line]) == 1


def test_a_page_that_cannot_be_written_fails_no_job(committed, caplog) -> None:
    Path(committed.html_report, "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        Path(committed.html_report).write_text("")
    assert finish_job(plan(1), committed)["succeeded"]
    assert Path(committed.success).exists()
    assert "no report.html" in caplog.text


def test_failed_rows_that_cannot_be_read_cost_their_examples_alone(committed, caplog) -> None:
    finish_job(plan(1), committed)
    Path(committed.failed_part("00000")).write_bytes(b"no Parquet file")
    page = page_of(Path(committed.path), [
        record(0, rows_in=10, predicted=9, failed=1, failures={"infer": {"E": 1}})])  # fmt: skip
    assert "infer E 1" in Page(page).text
    assert "row 9 failed" not in page
    assert "no examples of failed rows" in caplog.text
