"""The services of a runner that never has work: what a worker of a pool talks to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)


class IdleRunner(
    beam_fn_api_pb2_grpc.BeamFnControlServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
):
    """Asks a pool for workers and holds their control streams open."""

    def __init__(self, pool_address: str) -> None:
        self.connected: queue.Queue[str] = queue.Queue()
        self.gone: queue.Queue[str] = queue.Queue()
        self._closed = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self._server)
        beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(self, self._server)
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self._server)
        self.address = f"localhost:{self._server.add_insecure_port('localhost:0')}"
        self._server.start()
        # Clients of one process share connections to one address, unless told otherwise.
        self._channel = grpc.insecure_channel(
            pool_address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(self._channel)

    def start_worker(self, worker_id: str) -> str:
        """Asks for a worker; the pool's error, empty where there was none."""
        endpoint = endpoints_pb2.ApiServiceDescriptor(url=self.address)
        request = beam_fn_api_pb2.StartWorkerRequest(
            worker_id=worker_id,
            control_endpoint=endpoint,
            logging_endpoint=endpoint,
            artifact_endpoint=endpoint,
            provision_endpoint=endpoint,
        )
        return str(self._pool.StartWorker(request, timeout=300).error)

    def stop_worker(self, worker_id: str) -> None:
        self._pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=worker_id), timeout=300)

    def close_streams(self) -> None:
        """Ends the control streams, as a runner does that needs its workers no more."""
        self._closed.set()

    def vanish(self) -> None:
        """Breaks everything off, as a killed runner does."""
        stopped = self._server.stop(grace=None)
        self._closed.set()
        stopped.wait()

    def Control(self, responses: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        worker_id = dict(context.invocation_metadata())["worker_id"]
        context.add_callback(lambda: self.gone.put(worker_id))
        self.connected.put(worker_id)
        self._closed.wait()
        yield from ()

    def Logging(self, lines: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for _ in lines:
            pass
        yield from ()

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return beam_provision_api_pb2.GetProvisionInfoResponse(
            info=beam_provision_api_pb2.ProvisionInfo()
        )
