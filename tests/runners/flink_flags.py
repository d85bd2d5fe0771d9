"""Flags of `mirrorbeam score` on a Flink cluster of this machine."""

from __future__ import annotations

from pathlib import Path

from tests.runners import flink_packages
from tests.runners.pools import RunningPool


def flink_flags(job_server: Path, master: str, parallelism: int) -> list[str]:
    """The runner and where it runs.

    Args:
      job_server: the jar that a command starts.
      master: `host:port` of a cluster, or `[local]`.
      parallelism: slots to use.
    """
    return [
        "--runner=FlinkRunner", f"--flink_version={flink_packages.FLINK_VERSION}",
        f"--flink_master={master}", f"--flink_job_server_jar={job_server}",
        "--job_server_jvm_properties=-Dflink.log.level=WARN", f"--parallelism={parallelism}",
    ]  # fmt: skip


def external_flags(pool: RunningPool, workers: int = 1) -> list[str]:
    """Where Python workers come from, and how many a task manager has."""
    return [
        "--environment_type=EXTERNAL", f"--environment_config={pool.address}",
        "--environment_cache_millis=3000", f"--sdk_worker_parallelism={workers}",
    ]  # fmt: skip
