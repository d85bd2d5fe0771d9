"""A split's output appears in the promised order, whole, once, or not at all."""

from __future__ import annotations

import functools
import gc
import json
import multiprocessing
import signal
import time
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import storage
from pipelines.commit_records import CommitError, read_commit
from pipelines.commits import SplitCommitter
from pipelines.output_folder import OutputFolder
from pipelines.sinks import SINK_NAMES, sink_class
from pipelines.sinks.base import SinkError
from tests.pipelines.jobs import INPUT_SCHEMA, SCHEMA, batch, block, failure, split
from tests.pipelines.memory_filesystem import MemoryFileSystem
from tests.processes import python
from transforms.block import Block

PARQUET = sink_class("parquet")()


def committer(path: Path | str, provenance: bool = True, name: str = "parquet") -> SplitCommitter:
    return SplitCommitter(
        OutputFolder(str(path)), sink_class(name)(), INPUT_SCHEMA, provenance)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def visible(folder: Path) -> set[str]:
    return {name for name in files(folder) if not name.startswith("_mirrorbeam/tmp/")}


COMMITTED = {"part-00000.parquet", "_mirrorbeam/commits/00000.json"}


@pytest.mark.parametrize("path", ["local", "remote"])
def test_a_split_of_several_blocks(path: str, tmp_path: Path) -> None:
    remote = f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}"
    folder = OutputFolder(str(tmp_path) if path == "local" else remote)
    commits = committer(folder.path)
    data = {"x": 2, "name": "n2"}
    before = time.time()
    assert commits.add(block(0, [0, 1], [failure(2, data)])) is None
    assert commits.add(block(0, [])) is None
    assert not storage.read_bytes(folder.part("00000", "parquet"))
    record = commits.add(block(0, [4, 5], [failure(3, b"raw", "decode")], 6, {"process": "p"}))
    commits.require_all_committed()

    assert record is not None
    assert json.loads(storage.read_bytes(folder.commit("00000")) or b"") == record
    assert read_commit(folder, "00000", PARQUET) == record
    times = {name: record.pop(name) for name in ("started_at", "ended_at", "seconds")}
    assert before <= times["started_at"] <= times["ended_at"] <= time.time()
    attempt = record["attempt"]

    def promise(target: str, rows: int) -> dict[str, Any]:
        return {"rows": rows, "attempt": attempt, "bytes": storage.size_bytes(target),
                "crc32c": storage.crc32c_of(target)}

    assert record == {
        "split": "00000", "attempt": attempt, "plan": None,
        "rows_in": 6, "predicted": 4, "failed": 2,
        "failures": {"decode": {"E": 1}, "infer": {"E": 1}},
        "part": promise(folder.part("00000", "parquet"), 4),
        "failed_part": promise(folder.failed_part("00000"), 2),
        "run": {"process": "p"},
    }
    part = pq.read_table(storage.open_to_read(folder.part("00000", "parquet")))
    assert part.to_pylist() == batch([0, 1, 4, 5]).to_pylist()
    failed = pq.read_table(storage.open_to_read(folder.failed_part("00000")))
    assert failed.select(["x", "record", "_row", "_stage"]).to_pylist() == [
        {"x": 2, "record": None, "_row": 2, "_stage": "infer"},
        {"x": None, "record": b"raw", "_row": 3, "_stage": "decode"}]


@pytest.mark.parametrize("name", SINK_NAMES)
def test_a_split_without_rows_has_a_part_with_the_right_columns(
    name: str, tmp_path: Path
) -> None:
    record = committer(tmp_path, name=name).add(block(0, [], total=0))
    assert record is not None
    assert (record["rows_in"], record["failed_part"]) == (0, None)
    assert read_commit(OutputFolder(str(tmp_path)), "00000", sink_class(name)()) == record
    if name == "parquet":
        assert pq.read_schema(tmp_path / "part-00000.parquet").names == SCHEMA.names
    assert files(tmp_path) == {
        f"part-00000.{sink_class(name).suffix}", "_mirrorbeam/commits/00000.json"}


def test_a_split_whose_rows_all_failed(tmp_path: Path) -> None:
    record = committer(tmp_path).add(block(0, [], [failure(0), failure(1)], 2))
    assert record is not None
    assert (record["predicted"], record["failed"]) == (0, 2)
    assert pq.read_table(tmp_path / "part-00000.parquet").num_rows == 0
    assert pq.read_table(tmp_path / "_mirrorbeam/failed/part-00000.parquet").num_rows == 2


def test_without_provenance_only_the_failed_part_has_it(tmp_path: Path) -> None:
    committer(tmp_path, provenance=False).add(block(0, [1], [failure(0)], 2))
    assert pq.read_schema(tmp_path / "part-00000.parquet").names == ["name", "y"]
    assert "_row" in pq.read_schema(tmp_path / "_mirrorbeam/failed/part-00000.parquet").names


@settings(max_examples=25)
@given(data=st.data())
def test_splits_interleaved_in_any_order(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("out")
    queues: list[list[Block]] = []
    for index in range(data.draw(st.integers(1, 4))):
        sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        blocks = [
            block(index, range(start, start + size))
            for start, size in zip(starts, sizes, strict=True)]
        blocks[-1] = block(index, range(starts[-1], sum(sizes)), total=sum(sizes))
        queues.append(blocks)
    expected = {
        f"part-{index:05d}.parquet": [r for b in blocks for r in b.batch.to_pylist()]
        for index, blocks in enumerate(queues)}
    commits = committer(folder)
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        commits.add(queue.pop(0))
    commits.require_all_committed()
    parts = {path.name: pq.read_table(path).to_pylist() for path in folder.glob("part-*")}
    assert parts == expected


@pytest.mark.parametrize("total", [2, 4])
def test_rows_that_do_not_add_up_are_an_error_and_leave_nothing(
    total: int, tmp_path: Path
) -> None:
    commits = committer(tmp_path)
    commits.add(block(0, [0, 1]))
    with pytest.raises(CommitError) as caught:
        commits.add(block(0, [], [failure(2)], total))
    assert str(caught.value) == (
        f"expected {total} rows in split 00000. Received: 2 predicted and 1 failed. "
        "Nothing of it is committed.")
    assert files(tmp_path) == set()
    commits.require_all_committed()


def test_a_split_that_is_open_where_its_bundle_ends(tmp_path: Path) -> None:
    commits = committer(tmp_path)
    commits.add(block(2, [0], [failure(1)]))
    commits.add(block(0, [0], total=1))
    commits.add(block(1, [0]))
    with pytest.raises(CommitError, match=r"with open splits 00001, 00002\. Reading and "
                       r"committing must stay in one fused stage"):
        commits.require_all_committed()
    assert files(tmp_path) == COMMITTED
    gc.collect()


def test_abandoning_leaves_committed_splits_alone(tmp_path: Path) -> None:
    commits = committer(tmp_path)
    commits.add(block(0, [0], total=1))
    commits.add(block(1, [0], [failure(1)]))
    assert len(files(tmp_path)) == 4
    commits.abandon()
    commits.abandon()
    assert files(tmp_path) == COMMITTED


def test_columns_may_not_change_within_a_split(tmp_path: Path) -> None:
    commits = committer(tmp_path)
    commits.add(block(0, [0]))
    nulls = batch([1]).set_column(0, "name", pa.nulls(1))
    commits.add(Block(nulls, split=split(0)))
    other = batch([2]).set_column(1, "z", pa.array([1.0]))
    with pytest.raises(CommitError, match=r"with one schema, name: string, y: float.* Received: "
                       r"name: string, z: double"):
        commits.add(Block(other, split=split(0)))
    assert files(tmp_path) == set()


def test_columns_that_only_the_worker_knows_are_checked_there(tmp_path: Path) -> None:
    commits = committer(tmp_path, name="tfrecord")
    odd = batch([0]).append_column("t", pa.array([0], pa.timestamp("s")))
    with pytest.raises(SinkError, match="column 't' as timestamp"):
        commits.add(Block(odd, split=split(0)))
    assert files(tmp_path) == set()


def test_an_empty_block_does_not_decide_the_columns(tmp_path: Path) -> None:
    commits = committer(tmp_path)
    commits.add(Block(batch([]).select(["name"]), split=split(0)))
    commits.add(block(0, [0], total=1))
    assert pq.read_table(tmp_path / "part-00000.parquet").to_pylist() == batch([0]).to_pylist()


def test_a_repeated_split_keeps_the_first_commit(tmp_path: Path) -> None:
    first = committer(tmp_path).add(block(0, [0, 1], total=2))
    inode = (tmp_path / "part-00000.parquet").stat().st_ino
    assert committer(tmp_path).add(block(0, [0, 1], total=2)) == first
    assert (tmp_path / "part-00000.parquet").stat().st_ino == inode
    assert files(tmp_path) == COMMITTED


def test_a_commit_whose_part_was_damaged_is_made_again(tmp_path: Path) -> None:
    first = committer(tmp_path).add(block(0, [0], [failure(1)], 2))
    assert first is not None
    (tmp_path / "part-00000.parquet").write_bytes(b"damaged")
    second = committer(tmp_path).add(block(0, [0, 1], total=2))
    assert second is not None
    assert second["attempt"] != first["attempt"]
    assert read_commit(OutputFolder(str(tmp_path)), "00000", PARQUET) == second
    # The second attempt had no failures: the first one's failed part is gone.
    assert files(tmp_path) == COMMITTED


@pytest.mark.parametrize("attempts_in", ["threads", "processes"])
def test_of_twins_that_commit_at_once_one_stays_whole(attempts_in: str, tmp_path: Path) -> None:
    executor = ThreadPoolExecutor if attempts_in == "threads" else FORKED
    splits, twins = 100, 4
    OutputFolder(str(tmp_path)).write_json(OutputFolder(str(tmp_path)).plan, {})
    with executor(twins) as pool:
        work = [(str(tmp_path), split, twin) for split in range(splits) for twin in range(twins)]
        returned = list(pool.map(commit_as_twin, work))
    for index in range(splits):
        name = f"{index:05d}"
        record = read_commit(OutputFolder(str(tmp_path)), name, PARQUET)
        assert record is not None
        attempts = {attempt for of_split, attempt in returned if of_split == name}
        assert attempts == {record["attempt"]}


FORKED = functools.partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn"))


def commit_as_twin(work: tuple[str, int, int]) -> tuple[str, str]:
    """Commits a split whose part is longer than other twins'; gives what is committed then."""
    folder, index, twin = work
    rows = batch([0]).set_column(0, SCHEMA.field("name"), pa.array(["n" * (twin + 1)]))
    record = committer(folder).add(Block(rows, split=split(index), rows_in_split=1))
    assert record is not None
    return record["split"], record["attempt"]


def damage_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit_record(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


PART = "part-00000.parquet"
FAILED = "_mirrorbeam/failed/part-00000.parquet"
RECORD = "_mirrorbeam/commits/00000.json"


@pytest.mark.parametrize(("damage", "content", "message"), [
    (lambda out: (out / PART).unlink(), False, "Received: no such file"),
    (lambda out: (out / FAILED).unlink(), False, "Received: no such file"),
    (lambda out: (out / PART).write_bytes(b"x"), False, "Received: {'bytes': 1, "),
    (lambda out: damage_byte(out / PART), True, "'crc32c': "),
    (lambda out: damage_byte(out / FAILED), True, "'crc32c': "),
    (lambda out: (out / RECORD).write_text("{"), False, "expected a commit record in"),
    (lambda out: (out / RECORD).write_text("{}"), False, "Received: KeyError"),
    (lambda out: edit_record(out / RECORD, split="00001"), False, "Received: that of 00001"),
    (lambda out: edit_record(out / RECORD, rows_in=9), False, "expected 9 rows in"),
    (lambda out: edit_record(out / RECORD, predicted=1, rows_in=2), False, "'rows': 2}"),
])
def test_reading_a_commit_compares_it_with_its_files(
    damage: Any, content: bool, message: str, tmp_path: Path
) -> None:
    committer(tmp_path).add(block(0, [0, 1], [failure(2)], 3))
    folder = OutputFolder(str(tmp_path))
    assert read_commit(folder, "00000", PARQUET, content) is not None
    damage(tmp_path)
    with pytest.raises(CommitError) as caught:
        read_commit(folder, "00000", PARQUET, content)
    assert message in str(caught.value)


def test_sizes_alone_do_not_see_a_flipped_bit(tmp_path: Path) -> None:
    record = committer(tmp_path).add(block(0, [0], total=1))
    damage_byte(tmp_path / PART)
    assert read_commit(OutputFolder(str(tmp_path)), "00000", PARQUET, content=False) == record


def test_a_split_that_is_not_committed_reads_as_none(tmp_path: Path) -> None:
    assert read_commit(OutputFolder(str(tmp_path)), "00000", PARQUET) is None


def test_reading_a_commit_whose_files_go_meanwhile(tmp_path: Path) -> None:
    committer(tmp_path).add(block(0, [0], total=1))
    folder = OutputFolder(str(tmp_path))
    sizes = folder.sizes()
    (tmp_path / PART).unlink()
    with pytest.raises(CommitError, match=PART):
        read_commit(folder, "00000", PARQUET, size_of=sizes.get)
    (tmp_path / RECORD).unlink()
    assert read_commit(folder, "00000", PARQUET, size_of=sizes.get) is None


def child(script: str, *arguments: str) -> int:
    """Runs a script in a process of its own; returns its exit status."""
    return python("-c", script, *arguments, check=False).returncode


def test_reading_and_writing_output_needs_neither_beam_nor_tensorflow() -> None:
    assert child(
        "import sys, pipelines.commits, pipelines.finish, pipelines.sinks.csv\n"
        "sys.exit('apache_beam' in sys.modules or 'tensorflow' in sys.modules)") == 0


CHILD = """
import os, signal, sys
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure
from pipelines.commits import SplitCommitter
from pipelines.output_folder import OutputFolder
from pipelines.sinks import sink_class

folder, fatal_rename = sys.argv[1], int(sys.argv[2])
renames = 0

def die_at_a_rename(event, arguments):
    global renames
    if event == "os.rename":
        renames += 1
        if renames == fatal_rename:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die_at_a_rename)
commits = SplitCommitter(OutputFolder(folder), sink_class("parquet")(), INPUT_SCHEMA)
commits.add(block(0, range(1000), [failure(1000)]))
commits.add(block(0, range(1001, 2000), total=2000))
"""


@pytest.mark.parametrize(("fatal_rename", "seen"), [
    (1, set()),
    (2, {FAILED}),
    (3, {FAILED, PART}),
])
def test_a_process_killed_between_two_steps_has_committed_nothing(
    fatal_rename: int, seen: set[str], tmp_path: Path
) -> None:
    def run(fatal: int) -> int:
        return child(CHILD, str(tmp_path), str(fatal))

    assert run(fatal_rename) == -signal.SIGKILL
    folder = OutputFolder(str(tmp_path))
    assert visible(tmp_path) == seen
    assert len(files(tmp_path)) > len(seen)
    assert read_commit(folder, "00000", PARQUET) is None

    assert run(0) == 0
    record = read_commit(folder, "00000", PARQUET)
    assert record is not None
    assert (record["predicted"], record["failed"]) == (1999, 1)
    assert visible(tmp_path) == {FAILED, PART, RECORD}
    rows = pq.read_table(tmp_path / PART)["_row"].to_pylist()
    assert rows == [row for row in range(2000) if row != 1000]
    folder.sweep(["00000"])
    assert files(tmp_path) == {FAILED, PART, RECORD}
