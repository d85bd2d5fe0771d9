"""The error of a command that cannot be carried out as it was given."""

from __future__ import annotations


class CommandError(ValueError):
    """The command was wrong: its message goes to stderr and the exit code is 2.

    Messages are one paragraph: what was expected, what was received, what to do.
    """
