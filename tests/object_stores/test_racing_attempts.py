"""Two attempts at one split of an object store, which has no locks, in every order of steps."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines import object_stores, storage
from pipelines.commit_records import CommitError, read_commit
from pipelines.commits import SplitCommitter
from pipelines.finish import finish_job
from pipelines.measured_file import MeasuredFile
from pipelines.output_folder import OutputFolder
from pipelines.sinks import sink_class
from pipelines.split_writer import SplitWriter
from tests.object_stores.emulators import STORES, Store
from tests.pipelines.jobs import INPUT_SCHEMA, block, failure, plan
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem

# The steps of a commit that another attempt can see, in the order in which one does them.
STEPS = ("announce", "look", "copy", "record", "look around")
CSV = sink_class("csv")()


class Turns:
    """Lets threads take their steps in a given order, and all be gone at its end."""

    def __init__(self, order: str) -> None:
        self._order = list(order)
        self._condition = threading.Condition()

    def wait(self, name: str) -> None:
        with self._condition:
            reached = self._condition.wait_for(
                lambda: name not in self._order or self._order[0] == name, timeout=30)
            assert reached, (name, self._order)

    def done(self, name: str) -> None:
        with self._condition:
            if name in self._order:
                self._order.remove(name)
            self._condition.notify_all()

    def leave(self, name: str) -> None:
        with self._condition:
            self._order = [other for other in self._order if other != name]
            self._condition.notify_all()


class Dead(BaseException):
    """Stands for the end of a process: nothing after it is done, not even tidying up."""


class FlatFileSystem(MemoryFileSystem):
    """Behaves as the stores in the cloud do: deleting what is not there is no error."""

    @classmethod
    def scheme(cls) -> str:
        return "flat"

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            FILES.pop(path, None)


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store in this process's memory, treated as those in the cloud are."""
    stores = object_stores.OBJECT_STORES | {FlatFileSystem.scheme()}
    monkeypatch.setattr(object_stores, "OBJECT_STORES", stores)
    FILES.clear()
    yield "flat://bucket/out"
    FILES.clear()


def race(monkeypatch: pytest.MonkeyPatch, path: str, order: str, dies: dict[str, int]) -> None:
    """Commits split 0 as A and as B, whose rows differ in a value but not in size.

    Args:
      monkeypatch: of the test.
      path: of the output.
      order: a letter for each step of each attempt.
      dies: after how many steps an attempt's process ends, if it does.
    """
    turns, steps_of = Turns(order), dict.fromkeys("AB", 0)

    def in_turn(call: Any, is_step: Any) -> Any:
        def call_in_turn(*arguments: Any) -> Any:
            name = threading.current_thread().name
            if name not in steps_of or not is_step(*arguments):
                return call(*arguments)
            turns.wait(name)
            if steps_of[name] >= dies.get(name, len(STEPS)):
                turns.leave(name)
                raise Dead
            steps_of[name] += 1
            try:
                return call(*arguments)
            finally:
                turns.done(name)
        return call_in_turn

    with monkeypatch.context() as patch:
        patch.setattr(
            MeasuredFile, "close",
            in_turn(MeasuredFile.close, lambda file: not file.closed))
        patch.setattr(storage, "copy", in_turn(storage.copy, lambda *_: True))
        patch.setattr(storage, "write_object", in_turn(storage.write_object, lambda *_: True))
        for name in ("_earlier_commit", "_settle"):
            method = getattr(SplitWriter, name)
            patch.setattr(SplitWriter, name, in_turn(method, lambda _: True))
        # The dead do not tidy up.
        abandon = SplitWriter.abandon
        patch.setattr(
            SplitWriter, "abandon",
            lambda self: None if threading.current_thread().name in dies else abandon(self))

        def attempt(name: str) -> None:
            committer = SplitCommitter(OutputFolder(path), CSV, INPUT_SCHEMA)
            rows = [2, 4] if name == "A" else [2, 6]
            try:
                committer.add(block(0, rows, total=2))
            except Dead:
                pass
            finally:
                turns.leave(name)

        threads = [threading.Thread(target=attempt, args=name, name=name) for name in "AB"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive()


# All 252 in which two attempts can take five steps each.
ORDERS = [
    "".join("A" if step in of_a else "B" for step in range(2 * len(STEPS)))
    for of_a in itertools.combinations(range(2 * len(STEPS)), len(STEPS))
]


def finished(path: str) -> tuple[dict[str, Any], bool]:
    """What the finish says, after the splits that it withdraws were done again."""
    folder, made = OutputFolder(path), plan(1, output_format="csv")
    first = report = finish_job(made, folder)
    if not report["succeeded"]:
        SplitCommitter(folder, CSV, INPUT_SCHEMA).add(block(0, [2, 4], total=2))
        report = finish_job(made, folder)
    return report, not first["succeeded"]


def require_whole(path: str) -> None:
    record = read_commit(OutputFolder(path), "00000", CSV, content=True)
    assert record is not None
    names = {file.removeprefix(path) for file in storage.list_files(path)}
    assert names == {
        "/part-00000.csv", "/_mirrorbeam/commits/00000.json", "/_mirrorbeam/report.json",
        "/_mirrorbeam/report.html", "/_SUCCESS",
    }  # fmt: skip


def disagree(path: str) -> bool:
    try:
        return read_commit(OutputFolder(path), "00000", CSV, content=True) is None
    except CommitError:
        return True


def test_in_every_order_the_record_agrees_with_the_part_in_the_end(
    flat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = 0
    for number, order in enumerate(ORDERS):
        path = f"{flat}-{number}"
        race(monkeypatch, path, order, {})
        wrong += disagree(path)
        report, _ = finished(path)
        assert report["succeeded"], order
        require_whole(path)
    # Else the test would be one that cannot fail: sizes alone show none of these.
    assert wrong > 10


@pytest.mark.parametrize("steps", range(2, len(STEPS)))
def test_in_every_order_also_if_one_attempt_dies(
    flat: str, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    for number, order in enumerate(ORDERS[::3]):
        path = f"{flat}-{number}"
        race(monkeypatch, path, order, {"B": steps})
        report, _ = finished(path)
        assert report["succeeded"], order
        require_whole(path)


def test_both_dead_between_part_and_record(flat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    race(monkeypatch, flat, "ABABABABAB", {"A": 4, "B": 3})
    assert disagree(flat) or storage.size_bytes(OutputFolder(flat).commit("00000")) is None
    report, redone = finished(flat)
    assert report["succeeded"]
    assert redone
    require_whole(flat)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with STORES[request.param]() as store:
        yield store


def test_a_part_that_another_attempt_replaced_is_found_and_done_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.path("out")
    # A copies, B copies, B records, A records: the part is B's and the record A's.
    race(monkeypatch, path, "ABAB" + "AB" + "BA" + "AB", {})
    assert disagree(path)
    report, redone = finished(path)
    assert report["succeeded"]
    assert redone
    require_whole(path)


@pytest.mark.parametrize("copies", [0, 1])
def test_an_attempt_whose_files_were_swept_while_it_publishes_finds_the_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    folder = OutputFolder(store.path(f"swept/{copies}"))
    older, newer = (SplitCommitter(folder, CSV, INPUT_SCHEMA) for _ in "AB")
    for attempt in (older, newer):
        attempt.add(block(0, [0], [failure(1)]))
    copy, left, winners = storage.copy, copies, []

    def overtaken(source: str, target: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            winners.append(newer.add(block(0, [2], total=3)))
            folder.sweep(["00000"])
        copy(source, target)

    monkeypatch.setattr(storage, "copy", overtaken)
    assert [older.add(block(0, [2], total=3))] == winners
    assert finish_job(plan(1, output_format="csv"), folder)["succeeded"]


def test_the_failed_part_of_an_attempt_that_did_not_commit_is_deleted(store: Store) -> None:
    folder = OutputFolder(store.path("failed"))
    storage.write_object(folder.failed_part("00000"), b"of an attempt that died")
    SplitCommitter(folder, CSV, INPUT_SCHEMA).add(block(0, [0, 1], total=2))
    SplitCommitter(folder, CSV, INPUT_SCHEMA).add(block(1, [0], [failure(1)], total=2))
    assert finish_job(plan(2, output_format="csv"), folder)["succeeded"]
    failed = list(storage.sizes_in(folder.failed_folder))
    assert failed == [folder.failed_part("00001")]
