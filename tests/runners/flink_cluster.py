"""A standalone Flink cluster on loopback: one job manager, some task managers."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# The heap is there from the start: what a process holds then grows by what is no garbage.
_MEMORY = ("-Xms512m", "-Xmx512m", "-XX:+AlwaysPreTouch", "-XX:MaxDirectMemorySize=512m")

_ENDED = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")

# What Flink's own scripts open to it on Java 17.
_OPENED = (
    "java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.text", "java.time",
    "java.util", "java.util.concurrent", "java.util.concurrent.atomic",
    "java.util.concurrent.locks", "sun.nio.ch",
)  # fmt: skip


class FlinkCluster:
    """Processes of this machine, each with its own log in a folder."""

    def __init__(self, job_server: Path, folder: Path, task_managers: int = 2, slots: int = 2):
        """Says what is to be started.

        Args:
          job_server: the jar whose class path is Flink and Beam's runner: with Beam there, its
            classes outlive a job and with them the workers' cache.
          folder: for the configuration and the logs.
          task_managers: how many.
          slots: of each.
        """
        self._job_server = job_server
        self._folder = folder
        self._slots = slots
        self._count = task_managers
        self._rest_port, self._rpc_port = _free_ports(2)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> FlinkCluster:
        """Starts it; what was started ends also where the rest does not come up."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Ends it."""
        self.stop()

    @property
    def master(self) -> str:
        """For `--flink_master`."""
        return f"localhost:{self._rest_port}"

    def start(self) -> None:
        """Starts the processes and waits until all slots are there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        settings = {"io.tmp.dirs": temporary}
        settings |= _settings(self._rest_port, self._rpc_port, self._slots)
        text = "".join(f"{name}: {value}\n" for name, value in settings.items())
        (self._folder / "config.yaml").write_text(text)
        self._spawn("jobmanager", _JOB_MANAGER)
        for number in range(self._count):
            self.start_task_manager(number)
        self.wait_for_slots(self._count * self._slots)

    def start_task_manager(self, number: int) -> None:
        """Starts one, again where it was killed."""
        name = f"taskmanager{number}"
        self._spawn(name, _TASK_MANAGER, f"-Dtaskmanager.resource-id={name}")

    def kill_task_manager(self, number: int) -> None:
        """SIGKILL."""
        process = self._processes[f"taskmanager{number}"]
        process.kill()
        process.wait()

    def task_manager(self, number: int) -> int:
        """The process of one."""
        return self._processes[f"taskmanager{number}"].pid

    def wait_for_slots(self, count: int, seconds: float = _START_SECONDS) -> None:
        """Waits until so many slots are free and no job runs: the cluster is up and idle."""
        deadline = time.monotonic() + seconds
        while self._free_slots() != count or not self.is_idle():
            if time.monotonic() > deadline:
                raise TimeoutError(f"expected {count} free slots. Received: {self.overview()}")
            time.sleep(0.3)

    def is_idle(self) -> bool:
        """Whether no job runs, waits for slots or is about to be started again."""
        return not self._unfinished_jobs()

    def overview(self) -> dict[str, Any]:
        """What the cluster says of itself."""
        return dict(self._get("overview"))

    def cancel_jobs(self) -> None:
        """Ends jobs whose client is gone; they would keep their slots."""
        for job in self._unfinished_jobs():
            url = f"http://{self.master}/jobs/{job}?mode=cancel"
            urllib.request.urlopen(urllib.request.Request(url, method="PATCH"), timeout=10)

    def stop(self) -> None:
        """Ends every process."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, name: str, main: str, *arguments: str) -> None:
        java = shutil.which("java")
        assert java is not None
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        command = [
            java, *_MEMORY, *opened, "-cp", str(self._job_server), main,
            "--configDir", str(self._folder), *arguments,
        ]  # fmt: skip
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _free_slots(self) -> int | None:
        for name, process in self._processes.items():
            if name == "jobmanager" and process.poll() is not None:
                tail = (self._folder / f"{name}.log").read_text()[-2000:]
                raise RuntimeError(f"expected a running {name}. Received: its end. {tail}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return int(self.overview()["slots-available"])
        return None

    def _unfinished_jobs(self) -> list[str]:
        jobs = self._get("jobs")["jobs"]
        return [job["id"] for job in jobs if job["status"] not in _ENDED]

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.master}/{path}", timeout=10) as answer:
            return json.load(answer)


def most_task_manager_mib() -> int:
    """What a task manager's process may take by its configuration."""
    return sum(
        int(str(size).removesuffix("m"))
        for name, size in _settings(0, 0, 1).items()
        if name.startswith("taskmanager.memory.") and not name.endswith(".min"))


def _settings(rest_port: int, rpc_port: int, slots: int) -> dict[str, object]:
    return {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": rpc_port,
        "jobmanager.bind-host": "localhost",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": rest_port,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        "taskmanager.numberOfTaskSlots": slots,
        "cluster.evenly-spread-out-slots": "true",
        # Beam's classes come from the cluster, once: a worker can outlive a stage.
        "classloader.resolve-order": "parent-first",
        # Longer than --environment_cache_millis: a restart must not find the dead worker.
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 10,
        "restart-strategy.fixed-delay.delay": "6 s",
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 10000,
        "jobmanager.memory.heap.size": "512m",
        "jobmanager.memory.off-heap.size": "128m",
        "jobmanager.memory.jvm-metaspace.size": "192m",
        "jobmanager.memory.jvm-overhead.min": "192m",
        "jobmanager.memory.jvm-overhead.max": "192m",
        "taskmanager.cpu.cores": f"{slots}.0",
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.task.heap.size": "384m",
        "taskmanager.memory.task.off-heap.size": "64m",
        "taskmanager.memory.managed.size": "256m",
        # 64 MB are too little where four subtasks shuffle.
        "taskmanager.memory.network.min": "256m",
        "taskmanager.memory.network.max": "256m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
    }


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]
