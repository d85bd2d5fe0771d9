"""Which names of files can be written to plans and rows."""

from __future__ import annotations


def is_utf8(name: str) -> bool:
    """Whether a name is text; of other bytes, Python makes code points that nothing can write."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
