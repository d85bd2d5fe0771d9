"""The worker pool with real processes, asked by real and by idle runners."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.cli import main
from tests.pipelines.runner_services import IdleRunner
from tests.processes import line_of

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300.0
# More than what fits into a pipe that nobody reads.
CHATTER_BYTES = 200 * 1024


class Pool(NamedTuple):
    process: subprocess.Popen[str]
    address: str
    log: Path

    def pids_of(self, runner: IdleRunner) -> list[int]:
        """Processes that the pool says it started for a runner."""
        pattern = rf"started worker \S+ of {re.escape(runner.address)} as process (\d+)"
        return [int(pid) for pid in re.findall(pattern, self.log.read_text())]


StartPool = Callable[..., Pool]
Ask = Callable[[Pool], IdleRunner]


@pytest.fixture
def start_pool(tmp_path: Path) -> Iterator[StartPool]:
    started: list[Pool] = []

    def start(*flags: str, **variables: str) -> Pool:
        log = tmp_path / f"pool-{len(started)}.log"
        command = [sys.executable, "-m", "pipelines", "worker-pool", "--port", "0", *flags]
        with log.open("w") as stderr:
            process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | variables, text=True,
                stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip
        match = re.match(r"worker pool at (localhost:\d+)", line_of(process))
        assert match is not None, log.read_text()
        started.append(Pool(process, match[1], log))
        return started[-1]

    yield start
    for pool in started:
        pool.process.terminate()
        pool.process.wait(SECONDS)
        assert pool.process.stdout is not None
        pool.process.stdout.close()


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Makes runners that ask a pool for workers."""
    runners: list[IdleRunner] = []

    def make(pool: Pool) -> IdleRunner:
        runners.append(IdleRunner(pool.address))
        return runners[-1]

    yield make
    for runner in runners:
        runner.vanish()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS} s for {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def talk_and_tell_the_process(number: int) -> int:
    sys.stdout.write("x" * CHATTER_BYTES)
    sys.stdout.flush()
    return os.getpid()


def run_on(pool: Pool, out: Path) -> set[int]:
    """Runs a talkative job on a pool's workers; gives their processes."""
    options = PipelineOptions(
        ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL",
         f"--environment_config={pool.address}"]
    )  # fmt: skip
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | beam.Create(range(4))
            | beam.Map(talk_and_tell_the_process)
            | beam.io.WriteToText(str(out))
        )
    parts = out.parent.glob(f"{out.name}-*")
    return {int(line) for part in parts for line in part.read_text().split()}


def test_a_worker_that_fills_its_stdout_gets_done(start_pool: StartPool, tmp_path: Path):
    pool = start_pool()
    (pid,) = run_on(pool, tmp_path / "out")
    assert f"as process {pid}" in pool.log.read_text()
    assert pool.log.read_text().count("x" * CHATTER_BYTES) == 4
    wait_until(lambda: not is_alive(pid), "the job's worker to end")


def test_threads_serve_one_job_after_the_other_in_one_process(
    start_pool: StartPool, tmp_path: Path
):
    pool = start_pool("--threads")
    assert run_on(pool, tmp_path / "first") == {pool.process.pid}
    assert run_on(pool, tmp_path / "second") == {pool.process.pid}


@pytest.mark.parametrize("mode", ["--processes", "--threads"])
def test_two_runners_may_call_their_workers_by_the_same_id(
    start_pool: StartPool, ask: Ask, mode: str
):
    pool = start_pool(mode)
    first, second = ask(pool), ask(pool)
    for runner in (first, second):
        assert runner.start_worker("1-1") == ""
        assert runner.connected.get(timeout=SECONDS) == "1-1"
    first.close_streams()
    first.stop_worker("1-1")
    assert first.gone.get(timeout=SECONDS) == "1-1"
    if mode == "--processes":
        (pid,), (other,) = pool.pids_of(first), pool.pids_of(second)
        wait_until(lambda: not is_alive(pid), "the first runner's worker to end")
        assert is_alive(other)
    assert second.gone.empty()
    # A third worker proves that the pool still serves.
    assert second.start_worker("1-2") == ""
    assert second.connected.get(timeout=SECONDS) == "1-2"


def test_a_repeated_request_starts_no_second_worker(start_pool: StartPool, ask: Ask):
    pool = start_pool()
    runner = ask(pool)
    assert [runner.start_worker("1-1") for _ in range(3)] == ["", "", ""]
    assert runner.connected.get(timeout=SECONDS) == "1-1"
    assert len(pool.pids_of(runner)) == 1


def test_a_worker_ends_when_its_runner_vanishes(start_pool: StartPool, ask: Ask):
    pool = start_pool()
    runner = ask(pool)
    assert runner.start_worker("1-1") == ""
    runner.connected.get(timeout=SECONDS)
    (pid,) = pool.pids_of(runner)
    runner.vanish()
    wait_until(lambda: not is_alive(pid), "the worker to end")


def test_threads_end_with_the_runners_that_vanished(start_pool: StartPool, ask: Ask):
    pool = start_pool("--threads")

    def serve(runners: int) -> None:
        for _ in range(runners):
            runner = ask(pool)
            assert runner.start_worker("1-1") == ""
            runner.connected.get(timeout=SECONDS)
            runner.vanish()

    def threads() -> int:
        return len(os.listdir(f"/proc/{pool.process.pid}/task"))

    serve(2)
    before = threads()
    serve(24)
    wait_until(lambda: threads() < before + 8, "the threads of 24 runners to end")


def test_sigterm_ends_the_pool_and_its_workers(start_pool: StartPool, ask: Ask):
    pool = start_pool()
    runner = ask(pool)
    for worker_id in ("1-1", "1-2"):
        assert runner.start_worker(worker_id) == ""
        runner.connected.get(timeout=SECONDS)
    pids = pool.pids_of(runner)
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(SECONDS) == 0
    assert len(pids) == 2
    assert not any(map(is_alive, pids))


def test_each_worker_sees_its_own_devices(start_pool: StartPool, ask: Ask):
    pool = start_pool("--pin_devices", "2", CUDA_VISIBLE_DEVICES="0,1,4,5")
    runner = ask(pool)
    assert runner.start_worker("1-1") == ""
    assert runner.start_worker("1-2") == ""
    seen = [
        dict(entry.split("=", 1) for entry in variables.split("\0") if "=" in entry)
        for variables in (Path(f"/proc/{pid}/environ").read_text() for pid in pool.pids_of(runner))
    ]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in seen] == ["0,1", "4,5"]


def test_a_runner_without_services_is_told(start_pool: StartPool, ask: Ask):
    pool = start_pool()
    runner = ask(pool)
    runner.vanish()
    assert "UNAVAILABLE" in runner.start_worker("1-1")
    assert pool.pids_of(runner) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--port", "70000"], "expected a port from 0 to 65535. Received: '70000'"),
        (["--port", "0", "--threads", "--pin_devices", "1"], "Received: --threads"),
        (["--port", "0", "--pin_devices", "1"], "expected NVIDIA devices in shares of 1"),
        (["--port", "0", "--host", "203.0.113.1"], "expected a free port"),
        (["--port", "0", "--runner=x"], "expected flags of mirrorbeam worker-pool"),
    ],
)
def test_wrong_flags_are_refused(
    flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["worker-pool", *flags]) == 2
    assert expected in capsys.readouterr().err


def test_a_port_in_use_is_refused(
    start_pool: StartPool, capsys: pytest.CaptureFixture[str]
):
    port = start_pool().address.rpartition(":")[2]
    assert main(["worker-pool", "--port", port]) == 2
    assert f"Received: localhost:{port}" in capsys.readouterr().err
