"""Files that claim, or inflate to, far more than they are; and what reading them takes.

`python -m tests.bad_input.hostile FORMAT FOLDER` reads the files of a folder that `write_hostile`
made, and writes one JSON line: by how many bytes the process has grown at its peak, and the rows
and failures of each file.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.feeding import choose_feeding
from pipelines.inputs import match_files
from pipelines.sources import source_class
from pipelines.sources.framing import masked_checksum
from tests.bad_input.sound import (
    SIGNATURES,
    csv_text,
    examples,
    image,
    json_lines,
    parquet,
    table,
    write_sound,
)
from tests.pipelines.sources.frames import frame

BOMB_BYTES = 2**28
MAX_RECORD_BYTES = 2**23
_ZEROS = bytes(2**20)
_LETTERS = b"a" * 2**20


def write_hostile(name: str, folder: Path) -> None:
    """Writes files of a format, none above some MiB."""
    writers = {
        "tfrecord": _write_tfrecords,
        "parquet": _write_parquet,
        "images": _write_images,
        "csv": _write_csv,
        "jsonl": _write_jsonl,
    }
    writers[name](folder)


def _write_tfrecords(folder: Path) -> None:
    for length in (BOMB_BYTES, 2**31 - 1):
        size = struct.pack("<Q", length)
        header = frame(examples()[0]) + size + struct.pack("<I", masked_checksum(size))
        (folder / f"plain_{length}.tfrecord").write_bytes(header + bytes(99))
        content = [header, *_repeated(_ZEROS), bytes(4), frame(examples()[1])]
        _write_gzip(folder / f"bomb_{length}.tfrecord", content)


def _write_csv(folder: Path) -> None:
    _write_gzip(folder / "long.csv", [csv_text(), *_repeated(_LETTERS), b"\n1.5,1,a\n"])
    _write_gzip(folder / "open.csv", [csv_text(), b'1.5,1,"', *_repeated(_LETTERS)])
    _write_gzip(folder / "lines.csv", [csv_text(), b"\n" * 2**24])
    _write_gzip(folder / "header.csv", [*_repeated(_LETTERS), b"\n1.5,1,a\n"])


def _write_jsonl(folder: Path) -> None:
    _write_gzip(folder / "long.jsonl", [json_lines(), *_repeated(_LETTERS), b"\n", json_lines()])
    _write_gzip(folder / "blank.jsonl", [json_lines(), *_repeated(b" " * 2**20)])
    deep = [opening * 10**6 for opening in (b"[", b'{"x":')]
    lines = [b'{"x":' + opening + b"\n" + json_lines() for opening in deep]
    (folder / "deep.jsonl").write_bytes(b"".join(lines))
    nested = b'{"x": [1, 2, 3], "n": 1, "text": "a", "deep": ' + b'{"a":' * 900 + b"1" + b"}" * 901
    (folder / "nested.jsonl").write_bytes(nested + b"\n" + json_lines())


def _write_images(folder: Path) -> None:
    png = image()
    sizes = {
        "wide.png": png[:16] + struct.pack(">II", 60_000, 60_000) + png[24:],
        "chunk.png": png[:33] + b"\x7f\xff\xff\xff" + png[37:],
        "wide.gif": _patched(image(kind="GIF"), 6, struct.pack("<HH", 65_535, 65_535)),
        "wide.bmp": _patched(image(kind="BMP"), 18, struct.pack("<ii", 60_000, 60_000)),
        "wide.jpg": _jpeg(65_500, 65_500),
    }
    for name, content in sizes.items():
        (folder / name).write_bytes(content)
    (folder / "long.png").write_bytes(png + bytes(MAX_RECORD_BYTES))
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(2**33)


def _write_parquet(folder: Path) -> None:
    sound = parquet(table())
    lie = sound[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1"
    (folder / "footer.parquet").write_bytes(lie)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 4096, pa.int32()), ["a" * 2**20])
    vectors = pa.array([[1.0, 2.0, 3.0]] * 4096, pa.list_(pa.float32()))
    long = pa.table({"x": vectors, "n": list(range(4096)), "text": texts})
    (folder / "dictionary.parquet").write_bytes(parquet(long, store_schema=False))


def _jpeg(width: int, height: int) -> bytes:
    content = bytearray(image(kind="JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def _patched(content: bytes, at: int, data: bytes) -> bytes:
    return content[:at] + data + content[at + len(data) :]


def _repeated(piece: bytes) -> Iterator[bytes]:
    return (piece for _ in range(BOMB_BYTES // len(piece)))


def _write_gzip(path: Path, pieces: Iterable[bytes]) -> None:
    packer = zlib.compressobj(1, wbits=31)
    with path.open("wb") as file:
        for piece in pieces:
            file.write(packer.compress(piece))
        file.write(packer.flush())


def read_all(name: str, folder: Path) -> dict[str, list[int]]:
    """Plans and reads each file of a folder by itself, beside a sound one that tells the columns.

    Returns:
      Rows and failures, by file name.
    """
    found: dict[str, list[int]] = {}
    sound = folder / "sound"
    for path in sorted(folder.iterdir()):
        if path == sound:
            continue
        _, files = match_files([str(sound), str(path)], name)
        fields = {field.name for field in dataclasses.fields(source_class(name))}
        limits: dict[str, Any] = {"max_record_bytes": MAX_RECORD_BYTES}
        source = dataclasses.replace(
            source_class(name)(),
            **{field: limit for field, limit in limits.items() if field in fields},
        )
        planned = source.plan(files, 2**26)
        feeding = choose_feeding(source, planned.schema, SIGNATURES[name], input_map={}, keep=None)
        counts = [0, 0]
        for split in planned.splits:
            for block in feeding.source.read(split):
                counts[0] += block.batch.num_rows
                counts[1] += len(block.failures)
        found[path.name] = counts
    return found


def main() -> None:
    """Reads what is named on the command line."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    warm = folder.parent / "warm"
    warm.mkdir()
    for path in (folder / "sound", warm / "sound", warm / "other"):
        write_sound(name, path)
    read_all(name, warm)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = read_all(name, folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    sys.stdout.write(json.dumps({"grown_bytes": grown, "found": found}) + "\n")


if __name__ == "__main__":
    main()
