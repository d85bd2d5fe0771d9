"""What the tests of several runners share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runners import flink_packages
from tests.runners.datasets import make_dataset
from tests.runners.flink_cluster import FlinkCluster

TASK_MANAGERS, SLOTS = 2, 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the data set, a model and functions."""
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder)
    return folder


@pytest.fixture(scope="session")
def job_server() -> Path:
    """The jar with Flink and Beam's runner; its packages are downloaded once."""
    return flink_packages.install(flink_packages.FOLDER)


@pytest.fixture(scope="session")
def cluster(job_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    """A running cluster, for all tests."""
    folder = tmp_path_factory.mktemp("flink")
    with FlinkCluster(job_server, folder, TASK_MANAGERS, SLOTS) as running:
        yield running


@pytest.fixture
def idle_cluster(cluster: FlinkCluster) -> Iterator[FlinkCluster]:
    """The cluster with all slots free, before and after."""
    cluster.wait_for_slots(TASK_MANAGERS * SLOTS)
    yield cluster
    cluster.cancel_jobs()
