"""The command as a Flex Template: its parameters, and how they become arguments."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.cli import build_parser
from pipelines.errors import CommandError
from pipelines.flex_template import metadata, run, score_arguments
from tests.processes import python
from tests.runners.pools import ROOT


def parameters() -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in metadata()["parameters"]}


def test_every_flag_is_a_parameter_and_every_parameter_a_flag() -> None:
    commands = build_parser()._subparsers._group_actions[0].choices
    own = {action.dest for action in commands["score"]._actions} - {"help", "dry_run"}
    beam = set(PipelineOptions([]).get_all_options())
    assert own <= set(parameters())
    assert set(parameters()) - own <= beam
    assert len(parameters()) == len(metadata()["parameters"])


def test_required_parameters_come_first() -> None:
    required = [name for name, parameter in parameters().items() if not parameter["isOptional"]]
    assert set(required) == {"input", "model", "output", "sdk_container_image"}
    assert list(parameters())[: len(required)] == required


def test_each_parameter_has_what_dataflow_requires() -> None:
    for name, parameter in parameters().items():
        assert re.fullmatch(r"[a-z][a-z_]*", name)
        assert parameter["label"]
        assert parameter["helpText"]
        assert "%(" not in parameter["helpText"]
        for pattern in parameter.get("regexes", ()):
            re.compile(pattern)
    assert re.fullmatch(parameters()["xla"]["regexes"][0], "true")
    assert not re.fullmatch(parameters()["xla"]["regexes"][0], "yes")
    assert re.fullmatch(parameters()["output_format"]["regexes"][0], "jsonl")


def test_switches_lose_their_values() -> None:
    given = ["--model=gs://b/m", "--xla=true", "--overwrite=False", "--no_auth", "--keep=all"]
    assert score_arguments(given) == ["--model=gs://b/m", "--xla", "--no_auth", "--keep=all"]
    flags, rest = build_parser().parse_known_args(
        ["score", *score_arguments(["--input=i", "--output=o", *given])]
    )
    assert (flags.xla, flags.overwrite, flags.keep) == (True, False, "all")
    assert rest == ["--no_auth"]


def test_a_switch_is_true_or_false(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match=r"expected --xla=true .* Received: --xla=1"):
        score_arguments(["--xla=1"])
    assert run(["--xla=1"]) == 2
    assert capsys.readouterr().err.startswith("mirrorbeam: expected --xla=true")


def test_the_file_works_where_the_image_has_it(tmp_path: Path) -> None:
    main = shutil.copy(ROOT / "pipelines" / "flex_template.py", tmp_path / "main.py")
    done = python(str(main), "--metadata", cwd=tmp_path, env={})
    assert json.loads(done.stdout) == metadata()
