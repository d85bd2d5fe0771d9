"""The command `mirrorbeam`: its commands, their flags and the exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import NoReturn, Protocol

from pipelines import option_flags
from pipelines.beam_errors import BeamErrors
from pipelines.beam_options import refuse_undeclared
from pipelines.errors import CommandError
from pipelines.printable import printable
from pipelines.redaction import RedactingFormatter, redacted
from pipelines.report_options import add_report_arguments
from pipelines.status_options import add_status_arguments
from pipelines.stop_signals import stopped_by_signals
from pipelines.tune_options import add_tune_arguments
from pipelines.worker_pool_options import add_worker_pool_arguments

_LOG = logging.getLogger(__name__)

EXIT_DONE, EXIT_FAILED, EXIT_WRONG = 0, 1, 2

_OWN_LOGGERS = ("pipelines", "transforms")

# What Beam declares and we do not is theirs too.
_WITH_BEAM_OPTIONS = frozenset({"score", "status", "report"})

# `pipelines.report` makes what this command shows.
_MODULES = {"report": "report_command", "worker-pool": "worker_pool"}


class Command(Protocol):
    """What the module of a command has."""

    def run(self, flags: argparse.Namespace, beam_arguments: Sequence[str]) -> int:
        """Carries the command out and gives the exit code."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message.rstrip('.')}. See {self.prog} --help.")


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="versions of this and its parts")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        python = ".".join(map(str, sys.version_info[:3]))
        parts = [f"{name} {_version(name)}" for name in ("tensorflow", "apache-beam", "tfx-bsl")]
        sys.stdout.write(
            f"mirrorbeam {_version('mirrorbeam')} (Python {python}, {', '.join(parts)})\n"
        )
        parser.exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `mirrorbeam`.

    Args:
      argv: the arguments; those of the process where it is None.

    Returns:
      0 when it is done, 1 when the job failed or was stopped, 2 when the command was wrong.
    """
    arguments = sys.argv[1:] if argv is None else argv
    parser = build_parser(with_formats=list(arguments[:1]) in (["score"], ["tune"]))
    try:
        flags, rest = parser.parse_known_args(arguments)
        if flags.command is None:
            parser.error("expected a command: score, inspect, tune, status, report or worker-pool")
        own_flags = _long_flags(parser, flags.command)
        if flags.command in _WITH_BEAM_OPTIONS:
            refuse_undeclared(rest, own_flags, flags.command)
        elif rest:
            parser.error(f"expected flags of mirrorbeam {flags.command}. Received: {rest[0]}")
        _set_up_logging()
        module = _MODULES.get(flags.command, flags.command)
        with stopped_by_signals():
            command: Command = importlib.import_module(f"pipelines.{module}")
            return command.run(flags, rest)
    except SystemExit as leave:
        return int(leave.code or 0)
    except CommandError as error:
        sys.stderr.write(f"mirrorbeam: {printable(redacted(str(error)))}\n")
        return EXIT_WRONG
    except KeyboardInterrupt:
        _LOG.error("stopped before the job was done")
        return EXIT_FAILED


def build_parser(*, with_formats: bool = True) -> argparse.ArgumentParser:
    """The whole command line; building it imports neither Beam nor TensorFlow.

    Args:
      with_formats: declare the flags of sources and sinks too, which imports Arrow.
    """
    parser = _Parser(
        prog="mirrorbeam",
        allow_abbrev=False,
        description="Scores whole datasets with TensorFlow models on every device.",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    score = commands.add_parser(
        "score",
        allow_abbrev=False,
        help="read, preprocess, infer, write",
        description="Reads a dataset, runs a model over every row and writes the predictions. "
        "Flags that are not listed here are Beam pipeline options, such as --runner "
        "(default: FnApiRunner).",
    )
    option_flags.add_score_arguments(score)
    if with_formats:
        option_flags.add_source_arguments(score)
        option_flags.add_sink_arguments(score)
    inspect = commands.add_parser(
        "inspect",
        allow_abbrev=False,
        help="what a model takes and gives",
        description="Shows a model's inputs, outputs and variables, what will be mirrored, and "
        "which columns fit.",
    )
    inspect.add_argument("model", metavar="MODEL", help=option_flags.MODEL_HELP)
    inspect.add_argument("--json", action="store_true", help="as JSON")
    option_flags.add_model_arguments(inspect)
    tune = commands.add_parser(
        "tune",
        allow_abbrev=False,
        help="measure batch sizes on this machine's devices, and save the best for score",
        description="Measures how fast a model is on rows of an input in batches of several "
        "sizes, prints and saves what it finds. Other work on the devices falsifies it.",
    )
    add_tune_arguments(tune)
    if with_formats:
        option_flags.add_source_arguments(tune)
    status = commands.add_parser(
        "status",
        allow_abbrev=False,
        help="how far a job is, from its output folder alone",
        description="Tells how far a job is, while it runs, wherever that is, and after it died. "
        "Flags that are not listed here are Beam pipeline options, which folders in a bucket may "
        "need, such as --s3_endpoint_url.",
    )
    add_status_arguments(status)
    report = commands.add_parser(
        "report",
        allow_abbrev=False,
        help="what a job did, as text, JSON or a page with plots",
        description="Tells what a job did, from its output folder alone; of one that has not "
        "ended, what is known so far. Flags that are not listed here are Beam pipeline options, "
        "which folders in a bucket may need, such as --s3_endpoint_url.",
    )
    add_report_arguments(report)
    worker_pool = commands.add_parser(
        "worker-pool",
        allow_abbrev=False,
        help="host workers for runners that start none of their own, such as Flink",
        description="Serves --environment_type=EXTERNAL: starts Python workers on this host when "
        "a runner asks, until SIGTERM.",
    )
    add_worker_pool_arguments(worker_pool)
    return parser


def _long_flags(parser: argparse.ArgumentParser, command: str) -> list[str]:
    actions = parser._subparsers._group_actions[0].choices[command]._actions  # type: ignore
    return [flag for action in actions for flag in action.option_strings if flag[:2] == "--"]


def _set_up_logging() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        RedactingFormatter("%(asctime)s %(levelname).1s %(name)s: %(message)s", "%H:%M:%S")
    )
    handler.addFilter(BeamErrors())
    logging.basicConfig(handlers=[handler])
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"
