"""What is left of the command line after our own flags: Beam's pipeline options."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.util
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pipelines.errors import CommandError
from transforms.cores import usable_cores

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

WorkerPlace = Literal["process", "machine", "elsewhere"]

_LOG = logging.getLogger(__name__)

DEFAULT_RUNNER = "FnApiRunner"

# Each has a split open: memory grows with them.
_MOST_THREADS = 8

# Their options may be declared outside of Python, by the job server or the runner's module.
PORTABLE_RUNNERS = frozenset(
    {
        "flinkrunner",
        "sparkrunner",
        "portablerunner",
        "prismrunner",
        "kafkastreamsrunner",
        "daskrunner",
    }
)

# Workers are threads of this process, or processes beside it.
LOCAL_RUNNERS = frozenset(
    {
        "fnapirunner",
        "directrunner",
        "switchingdirectrunner",
        "bundlebaseddirectrunner",
        "testdirectrunner",
    }
)


def runner_of(arguments: Sequence[str]) -> str:
    """The runner that Beam's flags name, or the pinned default."""
    runner = DEFAULT_RUNNER
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--runner":
            runner = value if equals else "".join(arguments[index + 1 : index + 2])
    return runner


def is_portable(runner: str) -> bool:
    """Whether options that Beam's Python does not know may still mean something to `runner`."""
    return _canonical(runner) in PORTABLE_RUNNERS


def runner_name(options: PipelineOptions) -> str:
    """The runner of a pipeline with these options, as it was named."""
    from apache_beam.options.pipeline_options import StandardOptions

    return options.view_as(StandardOptions).runner or DEFAULT_RUNNER


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether a pipeline with these options runs on Google Cloud's Dataflow."""
    return _canonical(runner_name(options)) in ("dataflowrunner", "testdataflowrunner")


def worker_place(options: PipelineOptions) -> WorkerPlace:
    """Where the workers of a pipeline with these options will run."""
    from apache_beam.options.pipeline_options import DirectOptions, PortableOptions

    runner = _canonical(runner_name(options))
    if runner == "prismrunner":
        # Beam's choice for Prism, where nothing else is asked for.
        kind = options.view_as(PortableOptions).environment_type or "LOOPBACK"
        return "process" if kind == "LOOPBACK" else "elsewhere"
    if runner not in LOCAL_RUNNERS:
        return "elsewhere"
    mode = options.view_as(DirectOptions).direct_running_mode
    return "machine" if mode == "multi_processing" else "process"


def read_in_threads(options: PipelineOptions, arguments: Sequence[str], splits: int) -> None:
    """Lets Beam's in-process runner read several splits at once, unless its flags were given.

    Arrow, the decoders and TensorFlow leave Python's lock while they work, and one thread's
    reading and writing overlaps another's. On two cores two threads were faster than one on
    Parquet with a small model, and four were no faster than two.

    Args:
      options: changed in place.
      arguments: the command's arguments for Beam.
      splits: of the job; a single one is read by the thread that there is.
    """
    from apache_beam.options.pipeline_options import DirectOptions

    direct = options.view_as(DirectOptions)
    given = any(argument.startswith("--direct_") for argument in arguments)
    if given or worker_place(options) != "process":
        return
    threads = min(_MOST_THREADS, usable_cores(), splits)
    if threads > 1:
        direct.direct_num_workers = threads
        direct.direct_running_mode = "multi_threading"


def refuse_undeclared(arguments: Sequence[str], own_flags: Iterable[str], command: str) -> None:
    """Refuses flags that Beam's source text does not declare, without importing Beam.

    Args:
      arguments: what our own parser left over.
      own_flags: ours, to suggest when one is misspelt.
      command: of mirrorbeam, for the message.

    Raises:
      CommandError: an argument is neither ours nor, as far as Beam's text tells, Beam's.
    """
    if arguments and not arguments[0].startswith("--"):
        _refuse(arguments[0], own_flags, command)
    declared = _flags_in_beam_text()
    if not declared or is_portable(runner_of(arguments)):
        return
    for argument in arguments:
        if argument.startswith("--") and argument.split("=")[0] not in declared:
            _refuse(argument.split("=")[0], [*own_flags, *declared], command)


def pipeline_options(arguments: Sequence[str], command: str = "score") -> PipelineOptions:
    """Beam's options of `arguments`, with the runner pinned where none is named.

    Args:
      arguments: for Beam.
      command: of mirrorbeam, for messages.

    Raises:
      CommandError: a value does not fit its option, or no option class declares a flag and
        the runner is not a portable one.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    runner = runner_of(arguments)
    arguments = (
        [*arguments, f"--runner={DEFAULT_RUNNER}"] if runner == DEFAULT_RUNNER else [*arguments]
    )
    options = PipelineOptions(arguments)
    unknown: list[str] = []
    declared: list[str] = []

    def look(parser: Any) -> None:
        parser.error = _raise
        declared.extend(parser._option_string_actions)
        unknown.extend(parser.parse_known_args(arguments)[1])

    options.get_all_options(add_extra_args_fn=look, retain_unknown_options=True)
    if unknown and not is_portable(runner):
        _refuse(unknown[0].split("=")[0], declared, command)
    if unknown:
        _LOG.info("passed on to %s, unknown to Beam's Python: %s", runner, " ".join(unknown))
    return options


def use_for_files(options: PipelineOptions) -> None:
    """Has Beam's filesystems go by these options: endpoints, credentials, projects."""
    from apache_beam.io.filesystems import FileSystems

    FileSystems.set_options(options)


def _raise(message: str) -> NoReturn:
    raise CommandError(f"expected valid Beam pipeline options. Received: {message}.")


def _refuse(argument: str, known: Iterable[str], command: str) -> NoReturn:
    near = difflib.get_close_matches(argument, sorted(set(known)), n=1)
    advice = f"Did you mean {near[0]}?" if near else f"See mirrorbeam {command} --help."
    raise CommandError(
        f"expected flags of mirrorbeam {command} or Beam pipeline options. "
        f"Received: {argument}. {advice}"
    )


def _canonical(runner: str) -> str:
    name = runner.rpartition(".")[2].lower()
    return name if name.endswith("runner") else f"{name}runner"


@functools.cache
def _flags_in_beam_text() -> frozenset[str]:
    """Flags that Beam's option classes declare; empty where their text is not where it was."""
    beam = importlib.util.find_spec("apache_beam")
    places = beam.submodule_search_locations if beam is not None else None
    path = Path(next(iter(places or ()), "")) / "options" / "pipeline_options.py"
    if not path.is_file():
        return frozenset()
    return frozenset(
        argument.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("add_argument", "add_value_provider_argument")
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )
