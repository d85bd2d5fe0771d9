"""Numbers of bytes as people write them on a command line."""

from __future__ import annotations

import argparse
import re

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(text: str) -> int:
    """A number of bytes above 0, such as `67108864` or `64MiB`.

    Raises:
      ArgumentTypeError: the text is something else.
    """
    match = re.fullmatch(r"([1-9][0-9]*)\s*([a-z]*)", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or match[2].upper() not in _UNITS:
        raise argparse.ArgumentTypeError(
            f"expected a number of bytes, such as 67108864 or 64MiB. Received: {text!r}."
        )
    return int(match[1]) * _UNITS[match[2].upper()]
