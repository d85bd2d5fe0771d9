"""Text for terminals and pages."""

from __future__ import annotations


def printable(text: str) -> str:
    """Names and messages of damaged files may hold what terminals obey and pages cannot hold."""
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )
