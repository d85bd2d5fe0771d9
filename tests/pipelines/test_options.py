from __future__ import annotations

import argparse
from typing import Any

import pytest

from pipelines.cli import build_parser
from pipelines.option_flags import add_score_arguments, add_source_arguments
from pipelines.options import DEFAULT_SPLIT_BYTES, ModelFlags, ScoreOptions
from pipelines.sources import source_class

REQUIRED = ["--input", "in", "--model", "model.keras", "--output", "out"]


class RefusedError(Exception):
    pass


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise RefusedError(message)


def parse(*arguments: str) -> ScoreOptions:
    parser = Parser(allow_abbrev=False)
    add_score_arguments(parser)
    return ScoreOptions.from_namespace(parser.parse_args([*REQUIRED, *arguments]))


def test_defaults_are_those_of_the_contract():
    assert parse() == ScoreOptions(
        input=("in",),
        model=ModelFlags("model.keras"),
        output="out",
        input_format="auto",
        output_format="parquet",
        input_map=(),
        keep=None,
        batch_size="auto",
        devices="all",
        logical_devices=None,
        preprocess=None,
        image_size=None,
        split_bytes=DEFAULT_SPLIT_BYTES,
        precision=None,
        xla=False,
        provenance=True,
        max_failed_fraction=0.01,
        overwrite=False,
        dry_run=False,
        format_flags=argparse.Namespace(),
    )


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--input", "b", "c"], "input", ("in", "b", "c")),
        (["--input_map", "x=a, y = b"], "input_map", (("x", "a"), ("y", "b"))),
        (["--keep", "all"], "keep", "all"),
        (["--keep", "none"], "keep", ()),
        (["--keep", "a,b"], "keep", ("a", "b")),
        (["--batch_size", "auto"], "batch_size", "auto"),
        (["--batch_size", "32"], "batch_size", 32),
        (["--devices", "all"], "devices", "all"),
        (["--devices", "GPU:0,GPU:1"], "devices", ("GPU:0", "GPU:1")),
        (["--logical_devices", "2"], "logical_devices", 2),
        (["--image_size", "224,192"], "image_size", (224, 192)),
        (["--split_bytes", "1000"], "split_bytes", 1000),
        (["--split_bytes", "64MiB"], "split_bytes", 64 * 2**20),
        (["--precision", "mixed_bfloat16"], "precision", "mixed_bfloat16"),
        (["--provenance", "off"], "provenance", False),
        (["--provenance", "on"], "provenance", True),
        (["--max_failed_fraction", "0"], "max_failed_fraction", 0.0),
        (["--max_failed_fraction", "1"], "max_failed_fraction", 1.0),
        (["--xla", "--overwrite"], "xla", True),
        (["--dry_run"], "dry_run", True),
        (["--output_format", "csv"], "output_format", "csv"),
    ],
)
def test_values(arguments: list[str], field: str, value: object):
    assert getattr(parse(*arguments), field) == value


def test_model_flags():
    options = parse(
        "--signature",
        "predict",
        "--builder",
        "nets.small:build",
        "--trust_model",
        "--custom_objects",
        "Scale=nets.layers:Scale,act=nets.layers:act",
    )
    assert options.model == ModelFlags(
        "model.keras",
        signature="predict",
        builder="nets.small:build",
        trust=True,
        custom_objects=(("Scale", "nets.layers:Scale"), ("act", "nets.layers:act")),
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--batch_size", "0"], "auto or a whole number above 0. Received: '0'"),
        (["--batch_size", "1.5"], "auto or a whole number above 0"),
        (["--batch_size", "-1"], "auto or a whole number above 0"),
        (["--logical_devices", "none"], "a whole number above 0. Received: 'none'"),
        (["--image_size", "224"], "height,width in pixels, such as 224,224. Received: '224'"),
        (["--image_size", "0,5"], "height,width in pixels"),
        (["--split_bytes", "64MB"], "a number of bytes, such as 67108864 or 64MiB"),
        (["--split_bytes", "0"], "a number of bytes"),
        (["--input", ""], "expected a path. Received: ''"),
        (["--output", ""], "expected a path. Received: ''"),
        (["--output", "o\udcff"], "expected a path in UTF-8. Received: 'o\\udcff'"),
        (["--model", " "], "expected a path. Received: ' '"),
        (["--input", "a,s3://me:hidden@bucket/x"], "expected a bucket without a user or password"),
        (["--output", "gs://me@bucket/x"], "expected a bucket without a user or password"),
        (["--input_map", "x"], "name=value pairs separated by commas, each name once"),
        (["--input_map", "x=a,x=b"], "each name once"),
        (["--custom_objects", "Scale=layers"], "module:name. Received: 'layers'"),
        (["--builder", "build"], "module:name. Received: 'build'"),
        (["--keep", "a,,b"], "names separated by commas"),
        (["--devices", ""], "names separated by commas"),
        (["--provenance", "yes"], "on or off. Received: 'yes'"),
        (["--max_failed_fraction", "2"], "a number from 0 to 1"),
        (["--max_failed_fraction", "nan"], "a number from 0 to 1"),
        (["--max_failed_fraction", "many"], "a number from 0 to 1"),
        (["--precision", "float16"], "invalid choice: 'float16'"),
        (["--input_format", "xml"], "invalid choice: 'xml'"),
        (["--output_format", "auto"], "invalid choice: 'auto'"),
    ],
)
def test_wrong_values_are_refused_with_what_was_expected(arguments: list[str], expected: str):
    with pytest.raises(RefusedError) as caught:
        parse(*arguments)
    assert expected in str(caught.value)
    assert arguments[0] in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_an_at_sign_in_an_object_name_is_no_login():
    assert "s3://bucket/me:x@home/*" in parse("--input", "s3://bucket/me:x@home/*").input


def test_abbreviations_are_left_over():
    parser = Parser(allow_abbrev=False)
    add_score_arguments(parser)
    _, rest = parser.parse_known_args([*REQUIRED, "--batch", "3"])
    assert rest == ["--batch", "3"]


def test_flags_of_sources_and_sinks_are_kept_apart():
    parser = Parser(allow_abbrev=False)
    add_score_arguments(parser)
    parser.add_argument("--csv_delimiter", default=",")
    options = ScoreOptions.from_namespace(parser.parse_args([*REQUIRED, "--csv_delimiter", ";"]))
    assert options.format_flags == argparse.Namespace(csv_delimiter=";")
    assert options.as_arguments()["csv_delimiter"] == ";"


def test_what_is_no_flag_of_a_job_is_in_no_plan():
    flags = build_parser().parse_args(["score", *REQUIRED])
    assert not {"command", "version"} & set(ScoreOptions.from_namespace(flags).as_arguments())


def test_arguments_are_named_as_the_flags():
    arguments = parse("--signature", "predict", "--trust_model", "--keep", "a").as_arguments()
    assert arguments["model"] == "model.keras"
    assert arguments["signature"] == "predict"
    assert arguments["trust_model"] is True
    assert arguments["keep"] == ("a",)
    assert arguments["input"] == ("in",)


def test_formats_share_the_limit_of_a_record() -> None:
    parser = Parser()
    add_source_arguments(parser)
    flags = parser.parse_args([])
    limits = {
        name: source_class(name).from_args(flags).max_record_bytes
        for name in ("tfrecord", "images", "csv", "jsonl")
    }
    assert limits == {"tfrecord": 2**28, "images": 2**28, "csv": 2**22, "jsonl": 2**28}
    given = parser.parse_args(["--max_record_bytes", "1KiB"])
    for name in limits:
        assert source_class(name).from_args(given).max_record_bytes == 1024
