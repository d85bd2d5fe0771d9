"""The flags of `mirrorbeam report`."""

from __future__ import annotations

import argparse

FORMATS = ("text", "json", "html")


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `mirrorbeam report`."""
    parser.add_argument(
        "folder", metavar="FOLDER", help="a job's output folder, on any Beam filesystem"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="text; json: that of report.json; html: one page with plots, which needs nothing "
        "else and loads nothing (default: by the suffix of --to, else text)",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--to", metavar="FILE", help="write there, on any Beam filesystem (default: stdout)"
    )
