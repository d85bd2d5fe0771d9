"""The flags of `mirrorbeam status`."""

from __future__ import annotations

import argparse


def add_status_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `mirrorbeam status`."""
    parser.add_argument(
        "folder", metavar="FOLDER", help="a job's output folder, on any Beam filesystem"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
