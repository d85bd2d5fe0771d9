"""How long a record may be: what is longer fails alone, and never lies in memory whole."""

from __future__ import annotations

import argparse
import contextlib

from pipelines.byte_sizes import parse_bytes

DEFAULT_MAX_RECORD_BYTES = 256 * 2**20
# A quote that nothing closes makes one record of all that follows it.
DEFAULT_MAX_CSV_RECORD_BYTES = 4 * 2**20

RECORD_SIZE_ERROR = "RecordSizeError"


def add_record_limit(parser: argparse._ActionsContainer) -> None:
    """Declares `--max_record_bytes`, once for all formats that have it."""
    # The parser refuses a flag that another format has declared before.
    with contextlib.suppress(argparse.ArgumentError):
        parser.add_argument(
            "--max_record_bytes",
            metavar="SIZE",
            type=parse_bytes,
            help="a longer TFRecord, image file, CSV record or JSON line is a failed row (default: "
            "256MiB; 4MiB in CSV)",
        )


def too_long(what: str, max_bytes: int) -> str:
    """The message of a failure."""
    return (
        f"expected {what} of at most {max_bytes} bytes. Received: more. "
        "Pass a larger --max_record_bytes."
    )
