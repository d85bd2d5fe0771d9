"""Object stores on loopback: Google's in memory, and S3 as moto has it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BUCKET = "bucket"
# Of the S3 that moto serves: any will do.
KEY, SECRET = "AKIAEXAMPLE", "secret-of-the-example"
# What a client may take for one request to Google's emulator, at each read.
STOPPED_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Store:
    """An object store that is served while the test runs.

    Attributes:
      root: its bucket as a path of Beam's.
      flags: what a command needs to reach it.
      environment: what a process of its own needs besides.
      requests: how often each HTTP method was used, where the store counts.
    """

    root: str
    flags: tuple[str, ...]
    environment: dict[str, str]
    requests: Counter[str]

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def write(self, name: str, data: bytes) -> None:
        from pipelines import storage

        storage.write_object(self.path(name), data)

    def fetch(self, name: str, folder: Path) -> Path:
        """Copies what is under a name to a local folder."""
        from pipelines import storage

        start = self.path(name)
        for path in storage.list_files(start):
            local = folder / path.removeprefix(start).lstrip("/")
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(storage.read_existing(path))
        return folder


@contextlib.contextmanager
def google_store() -> Iterator[Store]:
    """`gs://bucket`, where the emulator and Beam's client are installed."""
    pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    from apache_beam.internal.gcp import auth
    from gcp_storage_emulator import server

    from tests.pipelines.dataflow_service import storage_emulator

    changed = pytest.MonkeyPatch()
    with storage_emulator(BUCKET) as address, changed.context() as patch:
        environment = {"STORAGE_EMULATOR_HOST": address}
        patch.setenv(*next(iter(environment.items())))
        # Beam would look for credentials for half a minute.
        patch.setattr(auth._Credentials, "_credentials_init", True)
        # It has one thread: a client that was stopped in the middle of a request would hold all.
        patch.setattr(server.RequestHandler, "timeout", STOPPED_SECONDS)
        yield Store(f"gs://{BUCKET}", ("--no_auth",), environment, Counter())


@contextlib.contextmanager
def amazon_store() -> Iterator[Store]:
    """`s3://bucket`, where moto's server and Beam's client are installed."""
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    pytest.importorskip("boto3", reason="apache-beam[aws] is not installed")
    import boto3
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    requests: Counter[str] = Counter()
    application = server._server.app
    server._server.app = _counting(application, requests)
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    flags = (
        f"--s3_endpoint_url={endpoint}", f"--s3_access_key_id={KEY}",
        f"--s3_secret_access_key={SECRET}", "--s3_region_name=us-east-1",
    )  # fmt: skip
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id=KEY, aws_secret_access_key=SECRET,
    )  # fmt: skip
    # What earlier servers of this process held is there still.
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"))
    client.create_bucket(Bucket=BUCKET)
    FileSystems.set_options(PipelineOptions(list(flags)))
    try:
        yield Store(f"s3://{BUCKET}", flags, {}, requests)
    finally:
        FileSystems.set_options(PipelineOptions([]))
        server.stop()


def _counting(application: Any, requests: Counter[str]) -> Any:
    def answer(environment: dict[str, Any], start_response: Any) -> Any:
        requests[environment["REQUEST_METHOD"]] += 1
        return application(environment, start_response)

    return answer


STORES = {"gs": google_store, "s3": amazon_store}
