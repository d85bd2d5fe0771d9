"""`mirrorbeam score` as a Dataflow Flex Template: every parameter comes as --name=value.

`python -m pipelines.flex_template --metadata` prints what Dataflow is told of the parameters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from pipelines.cli import EXIT_DONE, EXIT_WRONG, main
from pipelines.errors import CommandError
from pipelines.option_flags import add_score_arguments, add_sink_arguments, add_source_arguments

_SWITCH = {"true": True, "false": False}

# A template is a submission: it cannot only look.
_LEFT_OUT = frozenset({"dry_run"})

# Beam's, which Dataflow's own fields of a template's launch do not cover or fill in too late.
_BEAM_PARAMETERS = {
    "sdk_container_image": "image of the workers: the one that the template was made from",
    "machine_type": "machine type of the workers (default: one that has the GPUs)",
    "disk_size_gb": "disk of each worker, in GB (default: 100 with GPUs)",
    "number_of_worker_harness_threads": "splits that a worker reads at once (default: 4 for each "
    "GPU, at least 8)",
    "dataflow_service_options": "options of the Dataflow service",
}
_REQUIRED_OF_BEAM = "sdk_container_image"


def run(parameters: Sequence[str]) -> int:
    """Submits the job; gives the exit code of `mirrorbeam score`."""
    if list(parameters) == ["--metadata"]:
        sys.stdout.write(f"{json.dumps(metadata(), indent=2, ensure_ascii=False)}\n")
        return EXIT_DONE
    try:
        return main(["score", *score_arguments(parameters)])
    except CommandError as error:
        sys.stderr.write(f"mirrorbeam: {error}\n")
        return EXIT_WRONG


def score_arguments(parameters: Sequence[str]) -> list[str]:
    """The same as arguments of the command, whose switches have no value.

    Raises:
      CommandError: a switch is neither true nor false.
    """
    switches = {f"--{action.dest}" for action in _actions() if action.nargs == 0}
    arguments = []
    for parameter in parameters:
        flag, equals, value = parameter.partition("=")
        if flag not in switches or not equals:
            arguments.append(parameter)
        elif value.lower() not in _SWITCH:
            raise CommandError(f"expected {flag}=true or {flag}=false. Received: {parameter}.")
        elif _SWITCH[value.lower()]:
            arguments.append(flag)
    return arguments


def metadata() -> dict[str, Any]:
    """The description of the template, as `gcloud dataflow flex-template build` takes it."""
    own = [_parameter(action) for action in _actions() if action.dest not in _LEFT_OUT]
    beam = [
        {"name": name, "label": _label(name), "helpText": text,
         "isOptional": name != _REQUIRED_OF_BEAM}
        for name, text in _BEAM_PARAMETERS.items()
    ]  # fmt: skip
    return {
        "name": "mirrorbeam score",
        "description": "Scores a whole dataset with a TensorFlow model on all GPUs of every worker",
        "parameters": sorted([*own, *beam], key=lambda parameter: bool(parameter["isOptional"])),
    }


def _parameter(action: argparse.Action) -> dict[str, Any]:
    help_text = (action.help or "").replace("%(default)s", str(action.default))
    parameter = {
        "name": action.dest,
        "label": _label(action.dest),
        "helpText": help_text,
        "isOptional": not action.required,
    }
    values = _SWITCH if action.nargs == 0 else action.choices
    if values:
        parameter["regexes"] = [f"^({'|'.join(map(str, values))})$"]
    return parameter


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _actions() -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    add_score_arguments(parser)
    add_source_arguments(parser)
    add_sink_arguments(parser)
    return parser._actions


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
