"""What every test shares: TensorFlow on the CPU, split into four logical devices."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["GRPC_VERBOSITY"] = "ERROR"
# Programs that tests start tell where their threads are when SIGABRT ends them.
os.environ["PYTHONFAULTHANDLER"] = "1"
# Batch sizes found on one day must not steer the tests of another.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="mirrorbeam-cache-")

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is. Fixtures of the functions here are
# folders, which examples may share.
settings.register_profile(
    "tests",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("tests")

LOGICAL_CPUS = 4


@pytest.fixture(scope="session")
def logical_cpus() -> int:
    """Makes four logical CPUs, once per process, before anything builds a model."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    if tf.config.get_logical_device_configuration(cpu) is None:
        devices = [tf.config.LogicalDeviceConfiguration()] * LOGICAL_CPUS
        tf.config.set_logical_device_configuration(cpu, devices)
    return len(tf.config.list_logical_devices("CPU"))
