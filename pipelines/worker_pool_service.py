"""The service that a runner asks for workers, in Beam's EXTERNAL environment."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipelines.pool_workers import PoolWorker
from pipelines.worker_environment import worker_environment

_LOG = logging.getLogger(__name__)

StartWorker = Callable[[str, Mapping[str, str]], PoolWorker]


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts a worker for each (control endpoint, worker id) that asks.

    Every task manager and every job calls its first worker by the same id. A worker therefore
    ends when its own control stream does; a request to stop an id holds for the worker that
    the same connection asked for, and gives it time to end by itself.
    """

    def __init__(self, start: StartWorker) -> None:
        """Takes what starts a worker, from its name for the log and its environment."""
        self._start = start
        self._workers: dict[tuple[str, str], tuple[str, PoolWorker]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Starts a worker, unless this is the repetition of a request that did."""
        try:
            self._start_once(request, context.peer())
            return beam_fn_api_pb2.StartWorkerResponse()
        except Exception as error:
            _LOG.exception("could not start worker %s", request.worker_id)
            return beam_fn_api_pb2.StartWorkerResponse(error=f"{type(error).__name__}: {error}")

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Sees to it that the connection's own worker of that id ends."""
        peer = context.peer()
        with self._lock:
            workers = [
                worker
                for (_, worker_id), (asked_by, worker) in self._workers.items()
                if worker_id == request.worker_id and asked_by == peer
            ]
        for worker in workers:
            worker.expect_end()
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """Ends all workers and starts no more."""
        with self._lock:
            self._closed = True
            running = [worker for _, worker in self._workers.values() if worker.is_running]
        enders = [threading.Thread(target=worker.end) for worker in running]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()

    def _start_once(self, request: Any, peer: str) -> None:
        key = (request.control_endpoint.url, request.worker_id)
        environment = worker_environment(request)
        with self._lock:
            if self._closed:
                raise RuntimeError("expected a running worker pool. Received: one that ends.")
            self._workers = {
                key: entry for key, entry in self._workers.items() if entry[1].is_running
            }
            if key in self._workers:
                return
            name = f"worker {request.worker_id} of {request.control_endpoint.url}"
            self._workers[key] = (peer, self._start(name, environment))
