"""Values of flags, from the texts that a command line has.

Each function raises `argparse.ArgumentTypeError`, which says what was expected, for other texts.
"""

from __future__ import annotations

import argparse
import re
from typing import Literal

from pipelines.file_names import is_utf8
from pipelines.gpus import Gpus, parse_gpus
from pipelines.options import Keep

# Beam would take it for the bucket's name, and log it.
_LOGIN = re.compile(r"\b(?:gs|s3)://[^/,]*@")


def _rejected(expected: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {expected}. Received: {text!r}.")


def parse_path(text: str) -> str:
    """A path that is not empty, in UTF-8, and names no user of a bucket."""
    # That of an unset shell variable would mean the working folder.
    if not text.strip():
        raise _rejected("a path", text)
    if not is_utf8(text):
        raise _rejected("a path in UTF-8", text)
    if _LOGIN.search(text):
        raise argparse.ArgumentTypeError(
            "expected a bucket without a user or password. Received: one before an @. Give "
            "credentials by the flags or the environment of its filesystem, such as "
            "--s3_access_key_id."
        )
    return text


def parse_gpu_count(text: str) -> Gpus:
    """GPUs of a machine, such as `nvidia-l4:4`."""
    try:
        return parse_gpus(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise _rejected("names separated by commas", text)
    return names


def parse_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """`name=value` pairs separated by commas, each name once."""
    pairs: dict[str, str] = {}
    for item in text.split(","):
        name, separator, value = (part.strip() for part in item.partition("="))
        if not (name and separator and value) or name in pairs:
            raise _rejected("name=value pairs separated by commas, each name once", text)
        pairs[name] = value
    return tuple(pairs.items())


def parse_object_path(text: str) -> str:
    """`module:name`, as it is."""
    if not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise _rejected("module:name", text)
    return text


def parse_named_objects(text: str) -> tuple[tuple[str, str], ...]:
    """`name=module:name` pairs, each name once."""
    return tuple((name, parse_object_path(path)) for name, path in parse_pairs(text))


def parse_keep(text: str) -> Keep:
    """Names of columns, or `all` or `none`."""
    if text == "all":
        return "all"
    return () if text == "none" else _names(text)


def parse_devices(text: str) -> tuple[str, ...] | Literal["all"]:
    """Names of devices, or `all`."""
    return "all" if text == "all" else _names(text)


def parse_positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _rejected("a whole number above 0", text)
    return int(text)


def parse_batch_size(text: str) -> int | Literal["auto"]:
    """`auto` or a whole number above 0."""
    if text == "auto":
        return "auto"
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _rejected("auto or a whole number above 0", text)
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels, such as `224,224`."""
    match = re.fullmatch(r"([1-9][0-9]*)\s*,\s*([1-9][0-9]*)", text.strip(), re.ASCII)
    if match is None:
        raise _rejected("height,width in pixels, such as 224,224", text)
    return int(match[1]), int(match[2])


def parse_on_off(text: str) -> bool:
    """Whether a text is `on`, and not `off`."""
    if text not in ("on", "off"):
        raise _rejected("on or off", text)
    return text == "on"


def parse_fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        raise _rejected("a number from 0 to 1", text) from None
    if not 0 <= value <= 1:
        raise _rejected("a number from 0 to 1", text)
    return value
