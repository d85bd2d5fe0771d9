from __future__ import annotations

import io
import os
import random

import pytest

from pipelines import retrying
from pipelines.retrying import OutageError
from pipelines.steady_file import steady_file

DATA = random.Random(1).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PAUSES_SECONDS", (0.0,) * len(retrying.PAUSES_SECONDS))


class Store:
    """Opens files of which each breaks after so many bytes; the last ones do not."""

    def __init__(self, *break_after: int) -> None:
        self.left = list(break_after)
        self.opened = 0

    def open(self) -> io.BytesIO:
        self.opened += 1
        return _Breaking(self.left.pop(0) if self.left else len(DATA) + 1)


class _Breaking(io.BytesIO):
    def __init__(self, left: int) -> None:
        super().__init__(DATA)
        self._left = left

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ConnectionResetError("reset")
        return data


@pytest.mark.parametrize("breaks", [(), (0,), (300_000, 0, 1_000_000, 5)])
def test_all_of_a_file_that_breaks(breaks: tuple[int, ...]) -> None:
    store = Store(*breaks)
    with steady_file(store.open, "x") as file:
        assert file.read() == DATA
        assert file.read() == b""
    # Whatever is read at once is read again: a file may outlive what broke others.
    assert store.opened == 1 + sum(left < len(DATA) for left in breaks)


def test_places_in_a_file_that_breaks() -> None:
    chance = random.Random(2)
    store = Store(*(chance.randrange(600_000, 900_000) for _ in range(40)))
    with steady_file(store.open, "x") as file:
        assert file.seek(-5, os.SEEK_END) == len(DATA) - 5
        assert file.read() == DATA[-5:]
        for _ in range(60):
            start, size = chance.randrange(len(DATA)), chance.randrange(300_000)
            assert file.seek(start) == start
            assert file.read(size) == DATA[start : start + size]
            assert file.tell() == min(start + size, len(DATA))
    assert store.opened > 5


def test_a_store_that_stays_away_is_no_damaged_file() -> None:
    with steady_file(Store(*(0,) * 50).open, "x") as file, pytest.raises(OutageError):
        file.read(10)

    def gone() -> io.BytesIO:
        raise FileNotFoundError("x")

    with pytest.raises(FileNotFoundError):
        steady_file(gone, "x")
