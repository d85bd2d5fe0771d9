"""How CSV files are written, as the command's flags say it."""

from __future__ import annotations

import argparse

from pipelines.sources.text_values import TYPES


def add_csv_flags(parser: argparse._ActionsContainer) -> None:
    """Declares them."""
    parser.add_argument(
        "--csv_delimiter",
        metavar="CHARACTER",
        type=parse_delimiter,
        help="between the fields of CSV input, or tab (default: a comma, a tab for .tsv)",
    )
    parser.add_argument(
        "--csv_no_header",
        action="store_true",
        help="CSV input starts with a row; its columns are f0, f1, …",
    )
    parser.add_argument(
        "--csv_types",
        metavar="COLUMN=TYPE,…",
        type=_types,
        default=(),
        help=f"types of CSV columns: {', '.join(TYPES)} (default: by their first values)",
    )
    parser.add_argument(
        "--csv_whole_files",
        action="store_true",
        help="cut no CSV file into several splits: for files whose quotes can be read in two "
        "ways from the middle on",
    )


def parse_delimiter(text: str) -> str:
    """A delimiter as it is given, `tab` for a tab.

    Raises:
      argparse.ArgumentTypeError: it is none.
    """
    delimiter = "\t" if text in ("tab", "\\t") else text
    if len(delimiter.encode()) != 1 or delimiter in '"\r\n':
        raise argparse.ArgumentTypeError(f"expected one ASCII character or tab. Received: {text!r}")
    return delimiter


def _types(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [item.rpartition("=") for item in text.split(",")]
    for name, _, kind in pairs:
        if not name or kind not in TYPES:
            raise argparse.ArgumentTypeError(
                f"expected column=type pairs with types {', '.join(TYPES)}. Received: {text!r}"
            )
    return tuple((name, kind) for name, _, kind in pairs)
