"""The flags of `mirrorbeam worker-pool`."""

from __future__ import annotations

import argparse

from pipelines.option_values import parse_positive


def add_worker_pool_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `mirrorbeam worker-pool`."""
    parser.add_argument(
        "--port", type=_port, required=True, metavar="N", help="port to listen on; 0 takes any"
    )
    parser.add_argument(
        "--host",
        default="localhost",
        metavar="NAME",
        help="address to listen on (default: localhost, for task managers of this host). There "
        "is no authentication: whoever reaches the port can run code here",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--processes",
        action="store_false",
        dest="threads",
        help="a process for every worker that a runner asks for (default)",
    )
    mode.add_argument(
        "--threads",
        action="store_true",
        help="all workers in this process, which has one copy of each model for all of them",
    )
    parser.set_defaults(threads=False)
    parser.add_argument(
        "--pin_devices",
        type=parse_positive,
        metavar="N",
        help="give each process N of the host's NVIDIA devices, by CUDA_VISIBLE_DEVICES "
        "(default: each sees all)",
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535. Received: {text!r}.")
    return int(text)
