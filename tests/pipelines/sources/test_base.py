from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.sources import SOURCE_NAMES, source_class
from pipelines.sources.base import InputError, ReadRequest, Source
from pipelines.sources.column_names import own_columns
from pipelines.sources.sampling import sample_files
from pipelines.splits import InputFile
from tests.processes import python


@pytest.mark.parametrize("name", SOURCE_NAMES)
def test_every_format_is_a_source_of_its_name(name):
    found = source_class(name)
    assert issubclass(found, Source)
    assert found.name == name
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in found.suffixes)


def test_no_two_formats_share_a_suffix():
    suffixes = [suffix for name in SOURCE_NAMES for suffix in source_class(name).suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_an_unknown_format_is_named_with_those_there_are():
    with pytest.raises(KeyError, match="parquet"):
        source_class("xml")


def test_declaring_all_flags_imports_neither_beam_nor_tensorflow():
    code = (
        "import argparse, sys\n"
        "from pipelines.sources import SOURCE_NAMES, source_class\n"
        "for name in SOURCE_NAMES:\n"
        "    source_class(name).add_arguments(argparse.ArgumentParser())\n"
        "print([name for name in ('apache_beam', 'tensorflow', 'cv2') if name in sys.modules])\n"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "[]"


def test_a_column_that_is_fed_and_kept_is_read_once():
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64())])
    assert ReadRequest(schema, fed={"b": None}, kept=("a", "b")).columns == ("b", "a")


def test_a_source_reads_nothing_before_it_is_prepared():
    source = source_class("parquet")()
    with pytest.raises(ValueError, match=r"prepared\(\)"):
        source.block_schema()


def test_own_columns_are_those_that_mirrorbeam_did_not_write():
    reserved = ["_source", "_row", "_stage", "_error", "_message"]
    schema = pa.schema([(name, pa.string()) for name in ["x", *reserved]])
    assert own_columns(schema, "p").names == ["x"]
    for index, name in enumerate(reserved, 1):
        left = ", ".join(sorted({*reserved} - {name}))
        with pytest.raises(InputError, match=f"Received: {left} in p"):
            own_columns(schema.remove(index), "p")
        with pytest.raises(InputError, match=f"Received: {name} in p"):
            own_columns(pa.schema([schema.field(0), schema.field(index)]), "p")
    with pytest.raises(InputError, match="'x' 2 times in p"):
        own_columns(schema.append(schema.field(0)), "p")


def files(sizes):
    return [InputFile(f"{index:02}", size) for index, size in enumerate(sizes)]


def test_samples_are_taken_from_the_first_middle_and_last_file():
    samples = sample_files(files([1] * 9), lambda path: [path])
    assert list(samples.by_path) == ["00", "04", "08"]
    assert not samples.is_empty


def test_files_that_give_nothing_are_replaced_by_others():
    samples = sample_files(files([0, 1, 1, 1, 1]), lambda path: [path] if path > "02" else [])
    assert (list(samples.by_path), samples.is_empty) == (["03", "04"], False)


def test_an_input_is_empty_only_where_every_file_was_looked_into():
    assert sample_files([], lambda path: [path]).is_empty
    assert sample_files(files([0, 0]), lambda path: [path]).is_empty
    assert sample_files(files([1] * 5), lambda path: []).is_empty
    assert not sample_files(files([1] * 5), lambda path: None).is_empty
    tried = []
    assert not sample_files(files([1] * 99), lambda path: tried.append(path) or []).is_empty
    assert len(tried) == 18
