from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from pipelines.inputs import input_patterns, match_files
from pipelines.sources.base import InputError
from pipelines.splits import InputFile, bare_name
from tests.pipelines.memory_filesystem import FILES, MemoryFileSystem

NAMES = (
    "a.csv",
    "b.csv.gz",
    "sub/c.CSV",
    "sub/deep/d.csv",
    "_SUCCESS",
    "_mirrorbeam/failed/part-00000.csv",
    ".hidden.csv",
    "sub/_skipped/e.csv",
    "notes.txt",
    "sub/_skipped.csv",
)


def local_root(tmp_path):
    return str(tmp_path / "data")


def remote_root(tmp_path):
    return f"{MemoryFileSystem.scheme()}://{uuid.uuid4().hex}/data"


@pytest.fixture(params=[local_root, remote_root])
def root(request, tmp_path):
    return request.param(tmp_path)


def put(root, *names, size=3):
    for name in names:
        path = f"{root}/{name}"
        if "://" in path:
            FILES[path] = b"x" * size
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(b"x" * size)


def matched(root, *patterns, input_format="auto"):
    """The format and the paths below the root."""
    given = [",".join(f"{root}/{part}" for part in pattern.split(",")) for pattern in patterns]
    name, files = match_files(given, input_format)
    assert files == sorted(files, key=lambda file: file.path)
    return name, [file.path[len(root) + 1 :] for file in files]


@pytest.mark.parametrize("folder", ["", "/"])
def test_a_folder_means_the_visible_files_of_the_format_below_it(root, folder):
    put(root, *NAMES)
    expected = ["a.csv", "b.csv.gz", "sub/c.CSV", "sub/deep/d.csv"]
    name, files = match_files([root + folder])
    assert (name, [file.path for file in files]) == ("csv", [f"{root}/{n}" for n in expected])
    assert {file.size_bytes for file in files} == {3}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a.csv"], ["a.csv"]),
        (["*.csv"], ["a.csv"]),
        (["*.csv*"], ["a.csv", "b.csv.gz"]),
        (["**/*.csv"], ["sub/deep/d.csv"]),
        (["sub/**.csv"], ["sub/deep/d.csv"]),
        (["s*"], ["sub/c.CSV", "sub/deep/d.csv"]),
        (["?.csv", "a.csv"], ["a.csv"]),
        (["a.csv,b.csv.gz"], ["a.csv", "b.csv.gz"]),
        (["sub", "a.csv"], ["a.csv", "sub/c.CSV", "sub/deep/d.csv"]),
        ([".hidden.csv"], [".hidden.csv"]),
        ([".*.csv"], [".hidden.csv"]),
        (["_mirrorbeam/failed"], ["_mirrorbeam/failed/part-00000.csv"]),
        (["_mirrorbeam/failed/*"], ["_mirrorbeam/failed/part-00000.csv"]),
    ],
)
def test_globs_and_paths_mean_what_they_match(root, patterns, expected):
    put(root, *NAMES)
    assert matched(root, *patterns) == ("csv", expected)


def test_a_given_format_takes_named_files_of_any_suffix(root):
    put(root, "train-00000-of-00002", "train-00001-of-00002", "a.csv", "x.tfrecord")
    both = ["train-00000-of-00002", "train-00001-of-00002"]
    assert matched(root, "train*", input_format="tfrecord") == ("tfrecord", both)
    assert matched(root, "a.csv", input_format="jsonl") == ("jsonl", ["a.csv"])


def test_a_folder_without_the_suffix_gives_files_that_have_none_known(root):
    put(root, "train-00000-of-00001", "a.csv")
    [file] = match_files([root], "tfrecord")[1]
    assert (file.path, file.size_bytes) == (f"{root}/train-00000-of-00001", 3)
    put(root, "x.tfrecord")
    assert [file.path for file in match_files([root], "tfrecord")[1]] == [f"{root}/x.tfrecord"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.tfrecord", "tfrecord"),
        ("a.tfrecords.gz", "tfrecord"),
        ("a.tfrecord-00000-of-00010", "tfrecord"),
        ("a-00000-of-00010.tfrecord.gz", "tfrecord"),
        ("a.tfrecord-00000-of-00010.gz", "tfrecord"),
        ("a.parquet", "parquet"),
        ("a.JPEG", "images"),
        ("a.png", "images"),
        ("a.ndjson", "jsonl"),
        ("a.jsonl.gz", "jsonl"),
        ("a.tsv", "csv"),
    ],
)
def test_suffixes_tell_the_format(root, name, source):
    put(root, name)
    assert matched(root, name) == (source, [name])


def test_names_are_bared_of_shards_and_compression():
    assert bare_name("/x.csv/A.TFRecord-00000-of-00010.gz") == "a.tfrecord"
    assert bare_name("part-7.csv") == "part-7.csv"


def test_sizes_are_those_of_the_files(tmp_path):
    put(str(tmp_path), "a.csv", size=7)
    put(str(tmp_path), "b.csv", size=0)
    assert [file.size_bytes for file in match_files([str(tmp_path / "*")])[1]] == [7, 0]


def refusal(root, *patterns, input_format="auto"):
    with pytest.raises(InputError) as error_info:
        matched(root, *patterns, input_format=input_format)
    message = str(error_info.value)
    assert message.startswith("expected ")
    assert " Received: " in message
    return message


def test_what_matches_nothing_is_refused(root):
    put(root, *NAMES)
    for pattern in ("none.csv", "none/*", "sub/none", "*.parquet"):
        message = refusal(root, "a.csv", pattern)
        assert f"{root}/{pattern}, which matches none" in message


def test_mixed_formats_are_refused_by_name(root):
    put(root, "a.csv", "b.parquet")
    message = refusal(root, "*")
    assert f"csv ({root}/a.csv), parquet ({root}/b.parquet)" in message


def test_unknown_suffixes_are_refused_where_they_are_named(root):
    put(root, "a.csv", "notes.txt")
    assert f"{root}/notes.txt" in refusal(root, "*")
    assert "--input_format" in refusal(root, "notes.txt")


def test_a_folder_of_other_formats_is_refused(root):
    put(root, "sub/a.csv", "sub/b.csv")
    message = refusal(root, "sub", input_format="parquet")
    assert f"{root}/sub/a.csv, {root}/sub/b.csv" in message
    assert ".parquet" in message


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "which matches none" in refusal(str(tmp_path), "empty")


def test_an_unknown_filesystem_is_refused():
    with pytest.raises(InputError, match=r"can be listed.*nosuch://x"):
        match_files(["nosuch://x/*"])


def test_existing_paths_may_have_commas_and_brackets(tmp_path):
    path = tmp_path / "a,b[1].csv"
    path.write_bytes(b"x")
    assert input_patterns([str(path), "c,d", "c"]) == (str(path), "c", "d")
    modified_ns = path.stat().st_mtime_ns
    assert match_files([str(path)]) == ("csv", [InputFile(str(path), 1, modified_ns)])


def test_a_file_has_one_mark_however_it_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    ways = [str(tmp_path), str(tmp_path / "*.csv"), str(tmp_path / "a.csv")]
    [found] = {file for way in ways for file in match_files([way])[1]}
    assert found.modified_ns == (tmp_path / "a.csv").stat().st_mtime_ns


def test_a_file_that_is_named_in_several_ways_is_scored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x")
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "data" / "b.csv").symlink_to("a.csv")
    monkeypatch.chdir(tmp_path)
    ways = ["data/a.csv", f"{tmp_path}/data/../data/a.csv", "./data//a.csv", "link/a.csv"]
    assert [file.path for file in match_files(ways)[1]] == ["data/a.csv"]
    paths = [file.path for file in match_files(["data", str(tmp_path / "data")])[1]]
    assert paths == ["data/a.csv", "data/b.csv"]


def test_names_that_are_no_text_are_refused_where_they_would_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "b\udcff.csv").write_text("x")
    (tmp_path / "c\udcff.txt").write_text("x")
    with pytest.raises(InputError, match=r"names are UTF-8.*b\\udcff\.csv'\. Rename"):
        match_files([str(tmp_path)])
    (tmp_path / "b\udcff.csv").unlink()
    assert [file.path for file in match_files([str(tmp_path)])[1]] == [f"{tmp_path}/a.csv"]


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    os.mkfifo(tmp_path / "b.csv")
    for given in (tmp_path, tmp_path / "*"):
        with pytest.raises(InputError, match=r"b\.csv is neither a file nor a folder"):
            match_files([str(given)])
