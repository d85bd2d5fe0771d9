"""Credentials inside of paths and addresses, taken out of what is written, logged or shown."""

from __future__ import annotations

import logging
import re
from typing import Any

REDACTED = "***"

# All repetitions have a bound: hostile texts are to take no time.
# user:password@host of an address, as those of databases have. The user stays.
_PASSWORD = re.compile(
    r"(?P<before>\b[a-zA-Z][-a-zA-Z0-9+.]{0,31}://[^\s/:@?#]{0,255}:)[^\s/]{0,1023}(?=@)"
)
# What signed addresses, flags and messages call a secret. Not where a folder is named so.
_SECRETS = (
    r"(?:signature|credential|password|passwd|pwd|secret|token|sig|"
    r"(?:access|account|api|private)_?key(?:_?id)?)"
)
_NAMED = re.compile(
    rf"(?P<before>(?:[?&;]|(?<![\w-])--)[a-z0-9_-]{{0,63}}?{_SECRETS}='?\"?"
    rf"|['\"][a-z0-9_-]{{0,63}}?{_SECRETS}['\"]\s*:\s*['\"]"
    r"|(?<![/\w.-])(?:password|passwd|pwd)=['\"]?)[^&;\s'\",]+",
    re.IGNORECASE,
)
_FLAG = re.compile(
    r"(?P<before>(?<![\w-])--[a-z0-9_-]{0,63}(?:password|secret|token|key)[a-z0-9_-]{0,63}\s+)"
    r"(?!-)\S+",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """The text with `***` for the passwords and tokens in it.

    Found are passwords of `scheme://user:password@host`, and values of parameters whose names
    say what they are: `sig=`, `X-Goog-Signature=`, `--s3_secret_access_key=`.
    """
    text = _PASSWORD.sub(rf"\g<before>{REDACTED}", text)
    text = _NAMED.sub(rf"\g<before>{REDACTED}", text)
    return _FLAG.sub(rf"\g<before>{REDACTED}", text)


def redacted_values(value: Any) -> Any:
    """Plain JSON values with every text in them redacted."""
    if isinstance(value, dict):
        return {name: redacted_values(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_values(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


class RedactingFormatter(logging.Formatter):
    """Formats as another does, tracebacks too, without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, or lines."""
        return redacted(super().format(record))
