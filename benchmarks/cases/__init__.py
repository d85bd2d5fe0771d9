"""What is measured: one file a case, found by its letter."""

from __future__ import annotations

import importlib

from benchmarks.cases.base import Case, Entry, Job, Target

# The module of each case; it has `CASE`.
MODULES = {
    "a": "record_batches",
    "b": "tfrecord_to_parquet",
    "c": "parquet_to_parquet",
    "d": "small_images",
    "e": "jpeg_files",
    "f": "texts",
    "g": "categories",
    "h": "one_large_file",
    "i": "tiny_job",
}

__all__ = ["MODULES", "Case", "Entry", "Job", "Target", "find_case"]


def find_case(letter: str) -> Case:
    """The case of a letter.

    Raises:
      KeyError: there is none.
    """
    case: Case = importlib.import_module(f"benchmarks.cases.{MODULES[letter]}").CASE
    return case
