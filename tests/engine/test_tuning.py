"""The search for the batch size, on made-up machines with known rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from transforms.engine.ladder import ladder
from transforms.engine.replicas import Replicas, open_replicas
from transforms.engine.sizing import BATCHES_BEFORE_TUNING, BatchSizer
from transforms.engine.tuning import TOLERANCE, RateTuner
from transforms.engine.tuning_store import LocalTuningStore, load_rows, tuning_key

Seconds = Callable[[int], float]

MACHINES: dict[str, Seconds] = {
    "overhead of a millisecond": lambda rows: 1e-3 + rows * 1e-6,
    "slow per batch": lambda rows: 1e-2 + rows * 1e-5,
    "proportional": lambda rows: rows * 1e-5,
    "caches end at 600 rows": lambda rows: 1e-4 + rows * (1e-5 if rows < 600 else 1.5e-5),
    "device is full at 2048 rows": lambda rows: 1e-2 * max(1, rows / 2048),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("start", [64, 1024, 4096])
@pytest.mark.parametrize("replicas", [1, 3])
def test_the_chosen_size_is_within_the_tolerance_of_the_best(
    machine: str, start: int, replicas: int
) -> None:
    seconds = MACHINES[machine]
    sizes = ladder(65536, replicas)
    noise = np.random.default_rng(start)
    tuner = RateTuner(sizes, start)
    batches = 0
    while not tuner.is_done:
        tuner.observe(tuner.current, seconds(tuner.current) * (1 + 0.1 * noise.random()))
        batches += 1
    best = max(rows / seconds(rows) for rows in sizes)
    assert tuner.chosen / seconds(tuner.chosen) >= 0.9 * best
    assert batches <= 130


def test_of_equal_rates_the_smaller_size_is_chosen() -> None:
    tuner = RateTuner(ladder(4096, 1), 512)
    while not tuner.is_done:
        tuner.observe(tuner.current, 1e-2 * max(1, tuner.current / 256))
    assert tuner.chosen == 256
    rates = {size.rows: size.rows_per_second for size in tuner.measured}
    assert rates[256] >= (1 - TOLERANCE) * max(rates.values())


def test_a_smaller_size_behind_a_valley_is_found() -> None:
    rates = {64: 9.0, 128: 10.0, 256: 7.2, 512: 7.0, 1024: 7.0, 2048: 8.0, 4096: 7.4, 8192: 7.0}
    tuner = RateTuner(list(rates), 2048)
    while not tuner.is_done:
        tuner.observe(tuner.current, tuner.current / rates[tuner.current])
    assert tuner.chosen == 128


def test_what_else_the_machine_does_for_a_while_does_not_decide() -> None:
    tuner = RateTuner(ladder(16384, 1), 2048)
    batches = 0
    while not tuner.is_done:
        rows = tuner.current
        # All batches of the best size, but for those at the end, come while the machine is busy.
        slow = 1.3 if rows == 4096 and batches < 12 else 1.0
        tuner.observe(rows, 1e-2 * max(1.0, rows / 4096) * slow)
        batches += 1
    assert tuner.chosen == 4096


def test_looking_below_the_start_costs_few_rows() -> None:
    tuner = RateTuner(ladder(65536, 1), 4096)
    rows_below = 0
    while not tuner.is_done:
        rows_below += tuner.current if tuner.current < 4096 else 0
        tuner.observe(tuner.current, tuner.current * 1e-5)
    assert tuner.chosen == 1
    assert rows_below <= 8 * 4096


def test_other_sizes_and_the_first_batch_say_nothing() -> None:
    tuner = RateTuner(ladder(256, 1), 64)
    tuner.observe(32, 1e-9)
    tuner.observe(64, 99.0)
    for _ in range(3):
        tuner.observe(64, 1.0)
    assert [(size.rows, size.rows_per_second) for size in tuner.measured] == [(64, 64.0)]


def test_what_did_not_fit_is_given_up() -> None:
    tuner = RateTuner(ladder(1024, 1), 64)
    for _ in range(4):
        tuner.observe(64, 1.0)
    assert tuner.current == 128
    tuner.forbid(128)
    while not tuner.is_done:
        tuner.observe(tuner.current, tuner.current / 64)
    assert max(size.rows for size in tuner.measured) == 64
    assert tuner.chosen < 128


def test_a_short_job_is_not_tuned() -> None:
    sizer = BatchSizer(1)
    rows = sizer.rows_for(100)
    for _ in range(BATCHES_BEFORE_TUNING - 1):
        sizer.observe(rows, 100, 0.1)
    assert sizer.tuner is None
    sizer.observe(rows, 100, 0.1)
    assert sizer.tuner is not None


def test_a_long_job_finds_its_size() -> None:
    sizer = BatchSizer(2)
    for _ in range(200):
        rows = sizer.rows_for(100)
        sizer.observe(rows, 100, 1e-2 + rows * 1e-6)
    assert sizer.tuner is not None
    assert sizer.tuner.is_done
    assert sizer.rows_for(100) >= 65536


def test_partial_batches_do_not_count_as_evidence() -> None:
    sizer = BatchSizer(1)
    for _ in range(100):
        sizer.observe(5, 100, 0.1)
    assert sizer.tuner is None


def test_bytes_bound_a_batch() -> None:
    sizer = BatchSizer(4)
    assert sizer.rows_for(4) == 4096
    assert sizer.rows_for(12_288) == 682 // 4 * 4
    assert sizer.rows_for(200 << 20) == 4


def test_a_given_size_is_kept_and_made_divisible() -> None:
    sizer = BatchSizer(3, requested=100)
    assert sizer.rows_for(1 << 20) == 99
    assert BatchSizer(3, requested=1).rows_for(1) == 3


def test_a_tuned_size_is_used_at_once() -> None:
    sizer = BatchSizer(2, tuned=512)
    assert sizer.rows_for(100) == 512
    for _ in range(100):
        sizer.observe(512, 100, 0.1)
    assert sizer.tuner is None


def test_the_memory_bounds_every_automatic_size() -> None:
    sizer = BatchSizer(2, tuned=512)
    sizer.set_fitting(300)
    assert sizer.rows_for(100) == 300


def test_longer_rows_come_in_smaller_batches_after_an_oom() -> None:
    sizer = BatchSizer(1)
    assert sizer.out_of_memory(1000, 1000)
    assert sizer.rows_for(1000, is_static=False) == 384
    assert sizer.rows_for(10_000, is_static=False) == 38


def test_a_prediction_saves_retries() -> None:
    sizer = BatchSizer(1)
    sizer.out_of_memory(4096, 100, lambda: 300)
    assert sizer.rows_for(100) == 300


# Keeping what was found.


@pytest.fixture
def replicas(logical_cpus: int) -> Replicas:
    return open_replicas(["CPU:0"])


def test_a_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    store = LocalTuningStore(tmp_path / "new")
    assert store.load("key") is None
    store.save("key", {"rows": 512})
    assert store.load("key") == {"rows": 512}
    assert load_rows([LocalTuningStore(tmp_path / "other"), store], "key") == 512


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rows": "many"}', '{"rows": 0}', "\x00"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.json").write_text(content)
    assert load_rows([LocalTuningStore(tmp_path)], "key") is None


def test_a_store_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    LocalTuningStore(tmp_path / "file").save("key", {"rows": 1})
    assert "cannot be kept" in caplog.text


def test_the_key_tells_models_devices_and_numbers_apart(replicas: Replicas) -> None:
    keys = {
        tuning_key({"model": "a"}, replicas),
        tuning_key({"model": "b"}, replicas),
        tuning_key({"model": "a", "xla": True}, replicas),
        tuning_key({"model": "a"}, open_replicas(["CPU:0", "CPU:1"])),
    }
    assert len(keys) == 4
    assert tuning_key({"model": "a"}, replicas) in keys


def test_what_did_not_fit_since_lowers_what_is_kept() -> None:
    sizer = BatchSizer(1, tuned=512)
    assert sizer.found_rows == 512
    sizer.out_of_memory(512, 100)
    assert sizer.found_rows == 384
