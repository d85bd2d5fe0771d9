"""Totals by stage: what counts where, for which job."""

from __future__ import annotations

import threading
import time

import pytest

from transforms.engine.stage_times import DECODE, QUEUE, READ, STAGES, STEP, WRITE, StageTimes

JOB = "job"


def spin(seconds: float) -> float:
    """Works for about so long; says for how long."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        pass
    return time.perf_counter() - started


def begun() -> StageTimes:
    times = StageTimes()
    times.begin(JOB)
    return times


def test_a_stage_within_another_counts_once() -> None:
    times = begun()
    with times.stage(READ):
        spin(0.01)
        with times.stage(DECODE):
            inner = spin(0.05)
        spin(0.01)
    found = times.describe(JOB)
    decode, read = found["stages"][DECODE]["seconds"], found["stages"][READ]["seconds"]
    assert decode >= inner - 1e-6
    assert 0.02 <= read <= found["wall_seconds"] - decode + 1e-6


def test_what_uses_an_item_does_not_count_for_the_stage_that_gives_it() -> None:
    times = begun()

    def items() -> object:
        for number in range(3):
            spin(0.002)
            yield number

    taken = []
    used = 0.0
    for item in times.each(READ, items()):  # type: ignore[arg-type]
        taken.append(item)
        used += spin(0.02)
    found = times.describe(JOB)
    assert taken == [0, 1, 2]
    assert 0.006 <= found["stages"][READ]["seconds"] <= found["wall_seconds"] - used + 1e-6


def test_a_stay_that_has_not_ended_counts_up_to_now() -> None:
    times = begun()
    with times.stage(WRITE):
        outer = spin(0.01)
        with times.stage(DECODE):
            inner = spin(0.02)
            found = times.describe(JOB)["stages"]
    assert found[WRITE]["seconds"] >= outer - 1e-6
    assert found[DECODE]["seconds"] >= inner - 1e-6
    assert found[WRITE]["seconds"] <= times.describe(JOB)["wall_seconds"] - inner + 1e-6


def test_a_stage_that_raises_has_ended() -> None:
    times = begun()
    with pytest.raises(ZeroDivisionError), times.stage(READ):
        1 / 0  # noqa: B018
    with times.stage(DECODE):
        spin(0.001)
    assert times.describe(JOB)["stages"][READ]["threads"] == 1
    assert times.describe(JOB)["stages"][DECODE]["seconds"] >= 0.001 - 1e-6


def test_threads_add_up_and_are_counted() -> None:
    times = begun()
    together = threading.Barrier(3)

    @times.timed(DECODE)
    def work() -> None:
        together.wait()
        spin(0.005)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = times.describe(JOB)["stages"][DECODE]
    assert found["threads"] == 3
    assert found["seconds"] >= 0.015 - 1e-6


def test_splits_that_are_open_count_as_threads_of_the_host_alone() -> None:
    times = begun()
    with times.split(), times.split():
        pass
    stages = times.describe(JOB)["stages"]
    assert {name: stages[name]["threads"] for name in STAGES} == {
        "read": 2, "decode": 2, "queue": 0, "host_to_device": 0, "step": 0, "gather": 0,
        "write": 2,
    }  # fmt: skip


def test_cpu_seconds_leave_out_waiting() -> None:
    times = begun()
    with times.stage(READ):
        threading.Event().wait(0.1)
    with times.stage(DECODE):
        spin(0.05)
    stages = times.describe(JOB)["stages"]
    assert stages[READ]["cpu_seconds"] < 0.05 < 0.1 - 1e-3 <= stages[READ]["seconds"]
    assert 0 < stages[DECODE]["cpu_seconds"] <= stages[DECODE]["seconds"] + 1e-3


def test_a_job_has_only_what_was_done_since_it_began() -> None:
    times = begun()
    times.add(QUEUE, 100.0)
    times.add_batch(50.0)
    with times.stage(STEP):
        spin(0.01)
    times.begin("other")
    times.add(QUEUE, 1.0)
    times.add_batch(2.0)
    # Every split of a job begins it again.
    times.begin(JOB)
    first, second = times.describe(JOB), times.describe("other")
    assert (first["stages"][QUEUE]["seconds"], first["busy_seconds"]) == (101.0, 52.0)
    assert (second["stages"][QUEUE]["seconds"], second["busy_seconds"]) == (1.0, 2.0)
    assert second["stages"][STEP] == {"seconds": 0.0, "cpu_seconds": 0.0, "threads": 0}
    assert second["wall_seconds"] < first["wall_seconds"]


def test_a_job_that_did_not_begin_here_has_nothing() -> None:
    assert StageTimes().describe(JOB) == {}


def test_the_oldest_of_many_jobs_is_forgotten() -> None:
    times = begun()
    for number in range(16):
        times.begin(f"job {number}")
    assert times.describe(JOB) == {}
    assert times.describe("job 0")["stages"].keys() == set(STAGES)


def test_each_batch_is_told() -> None:
    times = begun()
    told: list[int] = []
    times.add_batch(1.0)
    times.on_batch = told.append
    times.add_batch(1.0)
    times.add_batch(1.0)
    assert told == [2, 3]


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(KeyError, match="sleep"):
        StageTimes().stage("sleep")
