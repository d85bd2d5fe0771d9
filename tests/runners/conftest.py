"""What the tests of several runners share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runners.datasets import make_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the data set, a model and functions."""
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder)
    return folder
