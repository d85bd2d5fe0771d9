"""Text for terminals."""

from __future__ import annotations


def printable(text: str) -> str:
    """Names and messages from damaged files may hold what a terminal would obey."""
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )
