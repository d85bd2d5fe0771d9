"""Where the records of a CSV text end: a line end between quotes ends none."""

from __future__ import annotations

import enum
import functools
from typing import NamedTuple

import numpy as np

LINE_FEED, CARRIAGE_RETURN, QUOTE = b'\n\r"'
_NO_RUNS = np.empty(0, np.int64)


class State(enum.IntEnum):
    """What a byte of CSV is met in; there is no more to know of the bytes before it.

    A quote opens a field only at its start, closes it, and opens it again directly behind the
    closing one: so two quotes are one inside of a field. Everywhere else it is a character.
    """

    FIELD_START = 0
    IN_FIELD = 1
    IN_QUOTES = 2


class QuoteRuns(NamedTuple):
    """The runs of adjacent quotes in a text, each taken as a whole.

    Attributes:
      starts: where they start, int64.
      stops: where they stop.
      literal: whether all quotes of a run are characters, bool.
      quoted_behind: whether the bytes behind a run are between quotes, bool.
    """

    starts: np.ndarray
    stops: np.ndarray
    literal: np.ndarray
    quoted_behind: np.ndarray


class Scan:
    """One pass over a piece of CSV that is met in a known state.

    Attributes:
      data: the text's bytes, uint8.
      ends: where its records end, behind their line ends; int64.
      state: what the byte behind the text is met in.
    """

    def __init__(self, text: bytes, delimiter: int, state: State) -> None:
        """Scans a text; a carriage return at its very end is a line end."""
        self.data = np.frombuffer(text, np.uint8)
        self._delimiter = delimiter
        self._first = state
        self._is_separator = np.zeros(256, bool)
        self._is_separator[[delimiter, LINE_FEED, CARRIAGE_RETURN]] = True
        self._changes = self._changes_of_side() if QUOTE in text else _NO_RUNS
        line_ends = np.flatnonzero(self.data == LINE_FEED)
        if CARRIAGE_RETURN in text:
            returns = np.flatnonzero(self.data == CARRIAGE_RETURN)
            following = np.minimum(returns + 1, len(text) - 1)
            lone = returns[self.data[following] != LINE_FEED]
            line_ends = np.union1d(line_ends, lone) if len(lone) else line_ends
        self.ends = line_ends[~self.quoted(line_ends)] + 1
        self.state = self._last_state() if text else state

    def quoted(self, positions: np.ndarray) -> np.ndarray:
        """Whether bytes that are no quotes are between quotes, bool."""
        passed = np.searchsorted(self._changes, positions) + (self._first is State.IN_QUOTES)
        return (passed & 1).astype(bool)

    def delimiters(self) -> np.ndarray:
        """Where fields end before the last one of a record, int64."""
        found = np.flatnonzero(self.data == self._delimiter)
        return found[~self.quoted(found)]

    def separates(self, values: np.ndarray) -> np.ndarray:
        """Whether bytes are delimiters or line ends."""
        return self._is_separator[values]

    def _changes_of_side(self) -> np.ndarray:
        """The quotes at which a text between quotes begins or ends."""
        quotes = np.flatnonzero(self.data == QUOTE)
        opening = quotes[1 if self._first is State.IN_QUOTES else 0 :: 2]
        if len(opening) and opening[0] == 0:
            may_open = self._first is State.FIELD_START
            opening = opening[1:]
        else:
            may_open = True
        before = self.data[opening - 1]
        if may_open and (self._is_separator[before] | (before == QUOTE)).all():
            # Every other quote opens, and may: so none is a mere character.
            return quotes
        runs = self.runs
        return runs.starts[np.diff(runs.quoted_behind, prepend=self._first is State.IN_QUOTES)]

    @functools.cached_property
    def runs(self) -> QuoteRuns:
        """The runs of quotes, for a closer look."""
        quotes = np.flatnonzero(self.data == QUOTE)
        if not len(quotes):
            none = np.empty(0, bool)
            return QuoteRuns(_NO_RUNS, _NO_RUNS, none, none)
        breaks = np.flatnonzero(np.diff(quotes) > 1)
        starts = quotes[np.concatenate(([0], breaks + 1))]
        stops = quotes[np.append(breaks, len(quotes) - 1)] + 1
        at_field_start = self.separates(self.data[starts - 1])
        if starts[0] == 0:
            at_field_start[0] = self._first is not State.IN_FIELD
        # A run of even length changes nothing. One of odd length at a field's start changes
        # sides; elsewhere it leaves the quotes, if it did not stand outside of them already.
        is_odd = ((stops - starts) & 1).astype(bool)
        flips = np.cumsum(is_odd & at_field_start) + (self._first is State.IN_QUOTES)
        leaves = is_odd & ~at_field_start
        if leaves.any():
            last_leave = np.maximum.accumulate(np.where(leaves, np.arange(len(starts)), -1))
            flips -= np.where(last_leave >= 0, flips[last_leave], 0)
        quoted_behind = (flips & 1).astype(bool)
        before = np.concatenate(([self._first is State.IN_QUOTES], quoted_behind[:-1]))
        return QuoteRuns(starts, stops, ~at_field_start & ~before, quoted_behind)

    def _last_state(self) -> State:
        size = len(self.data)
        if self.quoted(np.array([size]))[0]:
            return State.IN_QUOTES
        if self.data[-1] == QUOTE:
            return State.IN_FIELD if self.runs.literal[-1] else State.FIELD_START
        return State.FIELD_START if self.separates(self.data[-1:])[0] else State.IN_FIELD
