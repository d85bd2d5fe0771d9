"""Memory and time that hostile files take, in a process of their own."""

from __future__ import annotations

import json

import pytest

from tests.bad_input.hostile import MAX_RECORD_BYTES, write_hostile
from tests.bad_input.sound import SUFFIXES
from tests.processes import python

# Rows and failures by file, with those of the sound file beside it.
EXPECTED = {
    "tfrecord": {
        "bomb_268435456.tfrecord": [6, 1],
        "bomb_2147483647.tfrecord": [5, 1],
        "plain_268435456.tfrecord": [5, 1],
        "plain_2147483647.tfrecord": [5, 1],
    },
    "parquet": {"dictionary.parquet": [4100, 0], "footer.parquet": [4, 1]},
    "images": {
        "chunk.png": [2, 0],
        "long.png": [1, 1],
        "sparse.png": [1, 1],
        "wide.bmp": [1, 1],
        "wide.gif": [1, 1],
        "wide.jpg": [1, 1],
        "wide.png": [1, 1],
    },
    "csv": {"header.csv": [4, 1], "lines.csv": [8, 0], "long.csv": [9, 1], "open.csv": [8, 1]},
    "jsonl": {
        "blank.jsonl": [8, 1],
        "deep.jsonl": [12, 2],
        "long.jsonl": [12, 1],
        "nested.jsonl": [9, 0],
    },
}
# A record is copied some times on its way; reading takes some MiB by itself.
MOST_BYTES = 8 * MAX_RECORD_BYTES + 64 * 2**20


@pytest.mark.parametrize("name", SUFFIXES)
def test_hostile_files_take_no_more_than_the_limits_allow(name, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    write_hostile(name, folder)
    done = python("-m", "tests.bad_input.hostile", name, str(folder))
    result = json.loads(done.stdout)
    assert result["found"] == EXPECTED[name]
    assert result["grown_bytes"] < MOST_BYTES
