"""`mirrorbeam worker-pool`: a host of workers for runners that have none of their own."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent import futures

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc

from pipelines.device_shares import DeviceShares, visible_devices
from pipelines.errors import CommandError
from pipelines.pool_workers import ProcessWorker, ThreadWorker
from pipelines.worker_pool_service import StartWorker, WorkerPool

_LOG = logging.getLogger(__name__)

EXIT_DONE = 0

# Starting waits for the runner's services; several task managers may ask at once.
_REQUESTS_AT_ONCE = 32


def run(flags: argparse.Namespace, beam_arguments: Sequence[str]) -> int:
    """Carries `mirrorbeam worker-pool` out: serves until SIGTERM or SIGINT.

    Raises:
      CommandError: the devices or the port cannot be had.
    """
    pool = WorkerPool(_start(flags))
    server, port = _serve(pool, flags.host, flags.port)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    kind = "threads" if flags.threads else "processes"
    sys.stdout.write(f"worker pool at {flags.host}:{port}, workers are {kind}\n")
    sys.stdout.flush()
    # What workers print must not fill a pipe that was read for the line above alone.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    ended.wait()
    _LOG.info("ending %s:%d and its workers", flags.host, port)
    server.stop(grace=None)
    pool.close()
    if flags.threads:
        # Bundles under way are in threads that cannot be ended one by one.
        logging.shutdown()
        os._exit(EXIT_DONE)
    return EXIT_DONE


def _start(flags: argparse.Namespace) -> StartWorker:
    if flags.threads:
        if flags.pin_devices is not None:
            raise CommandError(
                "expected --pin_devices with --processes. Received: --threads, whose workers "
                "are one process. Limit its devices with CUDA_VISIBLE_DEVICES.")
        return ThreadWorker
    if flags.pin_devices is None:
        return ProcessWorker
    try:
        shares = DeviceShares(visible_devices(), flags.pin_devices)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return functools.partial(ProcessWorker, shares=shares)


def _serve(pool: WorkerPool, host: str, port: int) -> tuple[grpc.Server, int]:
    server = grpc.server(
        futures.ThreadPoolExecutor(_REQUESTS_AT_ONCE),
        # Two pools at one port would each get some of the requests.
        options=[("grpc.so_reuseport", 0)],
    )
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise CommandError(
            f"expected a free port on an address of this host. Received: {host}:{port}; "
            f"{error}.") from error
    server.start()
    return server, bound
